package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"nextbest/cmd/nextbest/client"
	"nextbest/experiments"
)

// promote asks for a promotion and tells how it ended. A refusal is an answer,
// not an error.
func promote(ctx context.Context, c *client.Client, experiment, arm, policy string) (Promotion, error) {
	p := Promotion{Experiment: experiment, Policy: policy, Status: "promoted", Why: []string{}}
	var before struct {
		Gates []experiments.Gate `json:"gates"`
	}
	if _, err := c.Call(ctx, http.MethodGet, "/v1/experiments/"+experiment+"/gates?arm="+arm, nil, &before); err == nil {
		p.count(before.Gates)
	}
	_, err := c.Call(ctx, http.MethodPost, "/v1/experiments/"+experiment+"/promote", map[string]any{"arm": arm, "reason": "the experiment's two weeks are over"}, nil)
	if err == nil {
		return p, nil
	}
	problem := client.AsProblem(err)
	if problem == nil || problem.Status != http.StatusConflict {
		return p, err
	}
	p.Status = "refused"
	var refused struct {
		Gates []experiments.Gate `json:"gates"`
	}
	if err := json.Unmarshal(problem.Raw, &refused); err != nil {
		return p, err
	}
	if len(refused.Gates) == 0 {
		return p, p.ended(ctx, c, problem.Detail)
	}
	p.count(refused.Gates)
	for _, g := range refused.Gates {
		switch why := fmt.Sprintf("%s: %s", g.Name, g.Detail); {
		case g.Passed:
		case g.Name == experiments.GateGuardrails: // harm comes first
			p.Why = append([]string{why}, p.Why...)
		default:
			p.Why = append(p.Why, why)
		}
	}
	return p, nil
}

// ended tells why an experiment that is over cannot be promoted: a guardrail
// may have rolled it back.
func (p *Promotion) ended(ctx context.Context, c *client.Client, refusal string) error {
	var s experiments.Status
	if _, err := c.Call(ctx, http.MethodGet, "/v1/experiments/"+p.Experiment+"/status", nil, &s); err != nil {
		return err
	}
	if s.State != experiments.RolledBack {
		p.Why = append(p.Why, refusal)
		return nil
	}
	p.Why = append(p.Why, fmt.Sprintf("rolled back automatically after %s: %s", s.Ended.Sub(s.Started).Round(100*time.Millisecond), s.Reason))
	return nil
}

func (p *Promotion) count(gates []experiments.Gate) {
	p.Passed, p.Gates = 0, len(gates)
	for _, g := range gates {
		if g.Passed {
			p.Passed++
		}
	}
}
