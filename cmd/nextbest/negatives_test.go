package main

import (
	"slices"
	"testing"
)

func TestJoinNegatives(t *testing.T) {
	for _, c := range [][2][]string{
		{{"evaluate", "--reward-min", "-3", "--reward-max", "5"}, {"evaluate", "--reward-min=-3", "--reward-max", "5"}},
		{{"--reward-min", "-.5", "--json"}, {"--reward-min=-.5", "--json"}},
		{{"--reward-min=-1", "-2", "--json", "-h", "--", "-3"}, {"--reward-min=-1", "-2", "--json", "-h", "--", "-3"}},
	} {
		if got := joinNegatives(c[0]); !slices.Equal(got, c[1]) {
			t.Errorf("%q becomes %q, want %q", c[0], got, c[1])
		}
	}
}
