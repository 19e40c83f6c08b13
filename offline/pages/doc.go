// Package pages writes evaluation reports as pages that stand alone: one HTML
// file without any outside resource, with charts as SVG that follow the
// reader's light or dark setting, every number of the report's JSON, and what
// was refused with what would cure it. It also writes the forest plot on its
// own.
package pages
