// Package rules compiles and evaluates eligibility rules: boolean CEL
// expressions (Common Expression Language, https://cel.dev) over four
// variables.
//
//	customer  what the caller said about the customer, without identifiers
//	context   the features of the call
//	action    the action the rule belongs to: id, goal, group, owner, value, lever, cost
//	now       the time of the decision, a UTC timestamp
//
// Every rule is a pure function of those four, so that the log can repeat it.
// A rule's work is bounded: its size and nesting when it is compiled, its cost
// when it runs. Numbers from JSON are doubles; they compare with whole numbers
// (context.recency < 3), and arithmetic wants doubles on both sides
// (context.spend + 1.0).
package rules
