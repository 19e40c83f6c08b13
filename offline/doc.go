// Package offline says what a policy would have earned, from a log that
// another policy wrote, or that the log cannot say. Run reads mature rows once
// and goes over them twice (Spool), or three times where it must know more before
// the last pass, evaluates every candidate over each row's logged eligible set
// beside what ran, the best fixed action and doing nothing, and returns a Report
// with values, intervals, differences, diagnostics and refusals.
//
// The statistics are those of package estimators: the unit of every interval is
// the customer, weights use the mixture's propensity (or, with the query's Own,
// the serving arm's), reward models and the choice of the best fixed action are
// cross-fitted over folds of customers, and intervals are empirical likelihood
// with the largest weight taken from the declared floor. Where the logger learned
// from the rows, values are by AIPW over blocks of time. Evaluation is
// one-step: rows keep the histories that were logged, caps and budgets included,
// which a candidate would have changed.
//
// [Simulation] is a log with a known truth. Beside it stand the packages pages
// (reports as HTML), coverage (how often intervals hold) and classification
// (labelled data sets played as bandits).
//
// Memory does not grow with the log. The same query, seed and log give the same
// report bit for bit, however the rows are cut into batches.
package offline
