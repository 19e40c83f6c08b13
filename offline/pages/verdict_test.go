package pages

import (
	"testing"

	"nextbest/offline"
)

// The bar is green only for what is better than what ran and not shown to be worse
// than the best fixed action.
func TestRunState(t *testing.T) {
	figure := func(low, high float64) *offline.Figure { return &offline.Figure{Low: low, High: high} }
	for _, c := range []struct {
		ran, fixed *offline.Figure
		want       string
	}{
		{figure(0.1, 0.2), figure(-0.1, 0.1), "good"},
		{figure(0.1, 0.2), nil, "good"},
		{figure(0.1, 0.2), figure(-0.2, -0.1), "open"},
		{figure(-0.2, -0.1), figure(-0.2, -0.1), "bad"},
		{figure(-0.2, 0.1), figure(0.1, 0.2), "open"},
		{nil, nil, "open"},
	} {
		if got := runState(&offline.Result{VsLogged: c.ran, VsBestFixed: c.fixed}); got != c.want {
			t.Errorf("%+v, %+v: %s, want %s", c.ran, c.fixed, got, c.want)
		}
	}
	for want, states := range map[string][]string{"good": {"open", "good"}, "bad": {"bad", "bad"}, "open": {"bad", "open"}, "refused": {"refused"}} {
		if got := stateOf(states); got != want {
			t.Errorf("%v: %s, want %s", states, got, want)
		}
	}
}
