// Package experiments decides who takes part in an experiment and in which
// arm, turns the log into evidence that may be looked at at any time, and
// promotes, stops and rolls back by gates that answer with numbers.
//
// The pure parts come first: Definition and its state machine, assignment by
// hash, Accumulator (enrolments to Evidence) and the gates. Service joins them
// to the registry and the log through small interfaces.
//
// The unit of everything is the customer. A customer is judged once, when the
// window after the first decision has passed, whatever was shown; see
// estimators.RatioTest for what breaks otherwise.
package experiments
