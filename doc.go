// Package nextbest holds the nouns that every part of the platform shares:
// actions, objectives, decisions, impressions, rewards, the column batch of
// logged rows, and the error codes. It does no I/O.
package nextbest
