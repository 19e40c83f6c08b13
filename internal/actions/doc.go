// Package actions holds the action library's behaviour: the validation of an
// action's definition, the eligible set of a call with the reason for every
// action left out, the contact policy (caps in sliding windows and cool-downs)
// and the arbitration that turns a predicted response into a score. It is pure:
// the customer's history and the time are given.
package actions
