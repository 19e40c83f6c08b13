// Package bench measures the platform beside a baseline in the same run: the
// same load, the same machine, taken in turns, so that the ratio holds where
// absolute figures drift.
package bench
