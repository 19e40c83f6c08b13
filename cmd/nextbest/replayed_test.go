package main

import (
	"testing"

	"nextbest/internal/api"
)

// What was not replayed is said.
func TestReplayed(t *testing.T) {
	for want, v := range map[string]api.Verified{
		"nothing to replay: 192000 imported rows were skipped":                  {Skipped: 192000},
		"nothing to replay: there is no decision in the range":                  {},
		"9 of 10 decisions replayed identically":                                {Checked: 10, Identical: 9},
		"10 of 10 decisions replayed identically; 3 imported rows were skipped": {Checked: 10, Identical: 10, Skipped: 3},
	} {
		if got := replayed(&v); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
