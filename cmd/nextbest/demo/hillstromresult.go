package demo

import (
	"fmt"
	"math"

	"nextbest/estimators"
	"nextbest/experiments"
	"nextbest/offline"
)

// HillstromResult is what the run came to, as --json prints it.
type HillstromResult struct {
	Dataset  string `json:"dataset"`
	Rows     int    `json:"rows"`
	LogMeans struct {
		Visit      float64 `json:"visit"`
		Conversion float64 `json:"conversion"`
		Spend      float64 `json:"spend"`
	} `json:"log_means"` // of all rows, from ClickHouse
	Live struct {
		Decisions   int `json:"decisions"`
		Impressions int `json:"impressions"` // draws that agreed with what really happened
		Rewards     int `json:"rewards"`
	} `json:"live"`
	Results   []HillstromRow     `json:"results"`
	Gates     []experiments.Gate `json:"gates"`
	Promotion Promotion          `json:"promotion"`
	Verify    Verified           `json:"verify"`
}

// HillstromRow is one policy judged by one reward.
type HillstromRow struct {
	Policy  string `json:"policy"`
	Model   uint64 `json:"model"`
	Reward  string `json:"reward"`
	Offline struct {
		IPS   *offline.Figure `json:"ips"`
		SNIPS *offline.Figure `json:"snips"`
		DR    *offline.Figure `json:"dr"`
	} `json:"offline"`
	VsBestFixed *offline.Figure      `json:"vs_best_fixed"`
	Live        *LiveMean            `json:"live"` // null where the policy did not serve
	Verdict     string               `json:"verdict"`
	Refusals    []estimators.Refusal `json:"refusals"`
}

// LiveMean is the mean reward of the live decisions that agreed with what
// really happened, with a 95% empirical-likelihood interval.
type LiveMean struct {
	Interval
	N int `json:"n"`
}

// replayed collects the real outcomes of one arm's agreeing decisions.
type replayed struct{ rewards []map[string]float64 }

func (r *replayed) add(m *mailing) { r.rewards = append(r.rewards, m.rewards(m.action)) }

// mean returns the mean of one reward kind.
func (r *replayed) mean(kind string) *LiveMean {
	weight, reward := make([]float64, len(r.rewards)), make([]float64, len(r.rewards))
	low, high := 0.0, 0.0
	for i, outcome := range r.rewards {
		weight[i], reward[i] = 1, outcome[kind]
		low, high = math.Min(low, reward[i]), math.Max(high, reward[i])
	}
	m := &LiveMean{N: len(reward)}
	for _, v := range reward {
		m.Value += v / float64(len(reward))
	}
	// All weights are 1; any largest weight above it gives the same interval.
	if _, interval, err := estimators.EmpiricalLikelihood(nil, weight, reward, 2, low, high, 0.95); err == nil {
		m.Low, m.High = &interval.Low, &interval.High
	}
	return m
}

// row shortens one result of a report.
func (h *hillstrom) row(kind string, r *offline.Result) HillstromRow {
	row := HillstromRow{Policy: r.Name, Reward: kind, VsBestFixed: r.VsBestFixed, Verdict: r.Verdict, Refusals: r.Refusals}
	row.Offline.IPS, row.Offline.SNIPS, row.Offline.DR = r.IPS, r.SNIPS, r.DR
	if row.Refusals == nil {
		row.Refusals = []estimators.Refusal{}
	}
	arm := ""
	for _, c := range candidates {
		if r.Name == fmt.Sprintf("%s@1/%d", c.policy, h.models[c.policy]) {
			row.Policy, row.Model, arm = c.policy+"@1", h.models[c.policy], c.policy
		}
	}
	if live := h.live[arm]; live != nil {
		row.Live = live.mean(kind)
	}
	return row
}

// hillstrom prints one row.
func (s *screen) hillstrom(r HillstromRow) {
	estimate, live := "–", "–"
	if f := r.Offline.DR; f != nil {
		estimate = Interval{f.Value, &f.Low, &f.High}.String()
	}
	if r.Live != nil {
		live = fmt.Sprintf("%s n=%s", r.Live.Interval, thousands(r.Live.N))
	}
	s.line("", "%-10s %-12s %-24s %-32s %s", r.Reward, r.Policy, estimate, live, r.Verdict)
}

// Example is the body of a decision call that the demo leaves to copy.
func Example(dataset string) string {
	if dataset == "hillstrom" {
		return `{"placement":"email-live","customer":{"id":"H-1"},"context":{"recency":3,"history":329.08,"mens":true,"womens":false,"newbie":false,"zip_code":"Urban","channel":"Web"}}`
	}
	return `{"placement":"next-best","customer":{"id":"C-100001","consent":{"email":true,"push":false}},"context":{"recency":3,"frequency":6,"basket":49.5,"visits":4,"taste":"women","newbie":false}}`
}
