// Package console is the web console: one page an experiment owner keeps open.
// It serves static files and signs people in; every figure on the page comes
// from the API's overview, which Overview assembles.
package console
