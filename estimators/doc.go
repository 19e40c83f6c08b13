// Package estimators holds the statistics of off-policy evaluation and of live
// experiments: estimators of a policy's value from another policy's log,
// intervals, confidence sequences, e-processes, diagnostics, and the rules by
// which a report refuses a conclusion. It does no I/O and depends on nothing of
// ours.
//
// Notation. Row i has a logged action a with propensity μ, a reward r and a
// candidate's probability π of a; w = π/μ is its weight; q(x, a) is a reward
// model and q_π(x) = Σ_a π(a|x) q(x, a).
//
// The unit of every interval is the customer, not the row. So each estimator is
// a ratio Σ_c X_c / Σ_c D_c of sums over customers (D_c is the customer's number
// of rows, or its summed weight), and its variance linearises numerator and
// denominator together. An estimator appears twice: as a pure function over
// equal-length slices, which is its readable definition, and as a mergeable
// accumulator (Add, Merge, Estimate) that takes one customer at a time and whose
// memory does not grow with the log. Each has a file of its name. Catalogue lists
// them with formula, source, columns and hyperparameter, and ParseChoice reads
// "dros:lambda=1"; Intervals lists the intervals and says when each may be read.
//
// Slices whose lengths disagree panic; data that cannot be used (a zero
// propensity, a reward that is not a number) is a *RowError that names the row.
package estimators
