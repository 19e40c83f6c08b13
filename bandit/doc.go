// Package bandit turns a customer's context into a probability for each
// eligible action, and learns from what followed.
//
// A policy never draws. [Policy.Distribution] returns a distribution over the
// eligible actions, [Draw] inverts it with a uniform number from
// [DrawUniform], and what was drawn is what is logged: the propensity is exact
// by construction and every decision can be repeated.
//
// Every distribution has finite entries ≥ 0 that sum to 1 within 1e-12, for any
// model that [UnmarshalModel] accepts and any request it can score; a request
// it cannot score is an error, never a distribution that is not one. Adding
// the exploration floor, μ = (1−ε)p + ε/K, is part of the distribution. The
// algorithms that learn have a floor of 0.005 unless told otherwise, because a
// log without exploration can answer nothing; fixed weights and rules do
// exactly what they say unless given one.
//
// A [Schema] encodes contexts as float32 vectors, which is what is scored,
// logged and learned from. A [Learner] keeps the sufficient statistics of one
// ridge regression per action and publishes immutable [Model] snapshots; a
// model is a function of the statistics alone, so the order of the rewards
// does not matter beyond rounding. Models that share weights among actions are
// derived from the same sums; the logistic one alone depends on the order
// ([Spec.Ordered]).
//
// All sums have a fixed order and products are rounded before they are added,
// so that scores are the same bit for bit on one architecture ([Numerics]),
// whatever else is eligible and however many goroutines decide.
package bandit
