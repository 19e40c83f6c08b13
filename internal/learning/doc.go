// Package learning turns the log into models. A model is a pure function of
// the policy version and of the log as it was at a journal position P, with
// rewards matured up to a time W: training, live updates and rebuilds are the
// same code over the same rows and give the same parameters. What is published
// are content-addressed blobs, records that say what they were learned from,
// and one pointer for each policy version that moves by compare-and-set.
package learning
