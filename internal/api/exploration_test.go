package api

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

type fakeTraffic struct {
	t   Traffic
	err error
}

func (f fakeTraffic) Traffic(context.Context, string, time.Time, time.Duration) (Traffic, error) {
	return f.t, f.err
}

// TestExploration compares the figures with the formula by hand, with a log,
// without one and where it is away, and warns of no floor.
func TestExploration(t *testing.T) {
	f := newFixture(t)
	for _, body := range []string{`{"algorithm":"rules","rules":[{"when":"true","action":"mens"}],"params":{"epsilon":0.2}}`, `{"algorithm":"rules","rules":[{"when":"true","action":"mens"}]}`} {
		if r := f.do(Admin, "POST", "/v1/policies/rules/versions", body); r.Code != 201 {
			t.Fatal(r.Code, r.Body)
		}
	}
	ask := func(query string) (e Exploration) {
		t.Helper()
		r := f.do(Analyst, "GET", "/v1/placements/web/exploration"+query, "")
		if r.Code != 200 || json.Unmarshal(r.Body.Bytes(), &e) != nil || len(e.Candidates) != 3 {
			t.Fatalf("%d %s", r.Code, r.Body)
		}
		return e
	}
	near := func(what string, got *float64, want float64) {
		t.Helper()
		if got == nil || math.Abs(*got/want-1) > 1e-9 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	e := ask("") // rules@1, two actions, no log: at disagreement 1, w = K/ε = 10
	if e.Policy != "rules@1" || e.Logged || e.Eligible != 2 || e.Candidates[2].ESSDaily != nil || len(e.Warnings) != 0 {
		t.Errorf("without a log: %+v", e)
	}
	near("ESS at 1", &e.Candidates[2].ESS, 1000)
	near("ESS at 0.5", &e.Candidates[1].ESS, 10000/(0.5/0.9+0.5*10))

	f.srv.o.Traffic = fakeTraffic{t: Traffic{Decisions: 4000, Eligible: 4, Rewarded: 200, First: testNow.Add(-48 * time.Hour)}}
	e = ask("?policy=rules@1") // w = 20
	if !e.Logged || e.Eligible != 4 || e.DecisionsDaily != 2000 || e.ConversionRate != 0.05 {
		t.Errorf("with a log: %+v", e)
	}
	near("ESS a day", e.Candidates[2].ESSDaily, 100)
	near("days to ESS 100", e.Candidates[2].DaysToESS, 1)
	near("days to 20 conversions", e.Candidates[2].DaysToRewards, 20/(0.05*0.05)/2000)

	e = ask("?policy=rules@2")
	if e.Candidates[0].ESS != 0 || e.Candidates[0].DaysToESS != nil || !strings.Contains(strings.Join(e.Warnings, " "), "answer nothing about other policies") {
		t.Errorf("without a floor: %+v", e)
	}
	f.srv.o.Traffic = fakeTraffic{err: errors.New("away")}
	if e = ask(""); e.Logged || len(e.Warnings) != 1 {
		t.Errorf("log away: %+v", e)
	}
	for query, status := range map[string]int{"?policy=rules": 422, "?policy=rules@9": 404} {
		if r := f.do(Analyst, "GET", "/v1/placements/web/exploration"+query, ""); r.Code != status {
			t.Errorf("%s: %d %s", query, r.Code, r.Body)
		}
	}
	r := f.do(Admin, "PUT", "/v1/placements/shop", strings.Replace(placementBody, "rules@1", "rules@2", 1))
	if r.Code != 201 || !strings.Contains(r.Body.String(), "answer nothing about other policies") {
		t.Errorf("PUT: %d %s", r.Code, r.Body)
	}
}
