// Package decisions makes decisions and repeats them. Its catalogue compiles
// the definitions into one immutable value; its pipeline identifies the
// customer, assigns holdout and experiment, finds the eligible actions, forms
// the distribution of the serving policy and of every other arm the customer
// might have been in, draws once, reserves the contact and records everything;
// Verify repeats logged decisions bit for bit; Candidate puts a registered
// policy before logged rows.
//
// The pipeline's promises: what is drawn is what is logged; nothing is
// filtered after the draw; an error leaves nothing recorded; contact caps are
// exact under any concurrency; raw identifiers never leave the call.
package decisions
