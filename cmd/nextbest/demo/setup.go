package demo

import (
	"context"
	"net/http"

	"nextbest"
	"nextbest/cmd/nextbest/client"
)

// keys are the API keys of the people and systems in the demo, one a role.
type keys struct {
	channel, analyst, owner, approver *client.Client
}

// newKeys makes one key for each role with the admin's key.
func newKeys(ctx context.Context, admin *client.Client, name string) (keys, error) {
	var k keys
	for role, to := range map[string]**client.Client{"channel": &k.channel, "analyst": &k.analyst, "owner": &k.owner, "approver": &k.approver} {
		var made struct {
			Key string `json:"key"`
		}
		if _, err := admin.Call(ctx, http.MethodPost, "/v1/keys", map[string]any{"role": role, "name": name + "-" + role}, &made); err != nil {
			return keys{}, err
		}
		*to = admin.As(made.Key)
	}
	return k, nil
}

// put writes a definition that does not exist yet.
func put(ctx context.Context, c *client.Client, kind, id string, document any) error {
	_, err := c.Call(ctx, http.MethodPut, "/v1/"+kind+"/"+id, document, nil)
	return err
}

// newPolicy writes a policy's first version.
func newPolicy(ctx context.Context, c *client.Client, id string, spec map[string]any) error {
	_, err := c.Call(ctx, http.MethodPost, "/v1/policies/"+id+"/versions", spec, nil)
	return err
}

// train asks for a model of a policy's first version and returns its number.
func train(ctx context.Context, c *client.Client, policy string, request map[string]any) (uint64, error) {
	var made struct {
		Version uint64 `json:"version"`
	}
	_, err := c.Call(ctx, http.MethodPost, "/v1/policies/"+policy+"/versions/1/models", request, &made)
	return made.Version, err
}

// define tells the platform everything the retailer has: features, objectives,
// actions, rules, placements, the universal holdout and the candidates.
func (r *retailer) define(ctx context.Context) error {
	window := r.window.String()
	owner := r.keys.owner
	if err := put(ctx, owner, "features", "retail", map[string]any{"features": []map[string]any{
		{"name": "recency", "type": "numeric", "mean": 6.5, "sd": 3.5, "missing": "refuse"},
		{"name": "frequency", "type": "numeric", "mean": 2.5, "sd": 2.9, "missing": "mean"},
		{"name": "basket", "type": "numeric", "mean": 41.5, "sd": 22, "missing": "mean"},
		{"name": "visits", "type": "numeric", "mean": 3.5, "sd": 4, "missing": "mean"},
		{"name": "taste", "type": "categorical", "levels": tastes},
		{"name": "newbie", "type": "boolean", "missing": "refuse"},
	}}); err != nil {
		return err
	}
	for id, reward := range map[string]string{"orders": "order", "clicks": "click", "revenue": "purchase", "opt-outs": "opt_out"} {
		if err := put(ctx, owner, "objectives", id, map[string]any{"terms": []map[string]any{{"reward": reward, "weight": 1}}, "window": window, "default": 0}); err != nil {
			return err
		}
	}
	ids := make([]string, len(actions))
	for i := range actions {
		ids[i] = actions[i].id
		if ids[i] == nextbest.DoNothing {
			continue // every platform has it
		}
		if err := put(ctx, owner, "actions", actions[i].id, actions[i].definition()); err != nil {
			return err
		}
	}
	rules := []map[string]any{
		{"when": "context.recency > 6.0", "action": "winback-voucher"},
		{"when": "context.visits > 5.0", "action": "free-shipping"},
		{"when": "true", "action": "mens-email"},
	}
	analyst := r.keys.analyst
	for id, spec := range map[string]map[string]any{
		"rules":         {"algorithm": "rules", "rules": rules, "params": map[string]any{"epsilon": 0.1}},
		"rules-only":    {"algorithm": "rules", "rules": rules, "params": map[string]any{"epsilon": 0}},
		"linucb":        {"algorithm": "linucb", "features": "retail@1"},
		"lints":         {"algorithm": "linear_thompson", "features": "retail@1"},
		"greedy-clicks": {"algorithm": "epsilon_greedy", "features": "retail@1", "params": map[string]any{"epsilon": 0.05}},
	} {
		if err := newPolicy(ctx, analyst, id, spec); err != nil {
			return err
		}
	}
	if err := put(ctx, owner, "holdouts", "universal", map[string]any{"share": 0.05, "salt": "demo"}); err != nil {
		return err
	}
	for id, policy := range map[string]string{placement: "rules@1", placementRules: "rules-only@1"} {
		if err := put(ctx, owner, "placements", id, map[string]any{"channels": []string{"web", "email", "push"}, "objective": "orders@1", "actions": ids, "policy": policy, "impression": "reported", "slots": 1}); err != nil {
			return err
		}
	}
	return nil
}
