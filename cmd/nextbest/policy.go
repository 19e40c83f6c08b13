package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"text/tabwriter"
	"time"

	"nextbest"
	"nextbest/internal/api"
	"nextbest/internal/learning"
)

// policyCmd are the commands about the models of one policy version.
type policyCmd struct {
	Models      policyModelsCmd      `cmd:"" help:"List the models of a policy version."`
	Diff        policyDiffCmd        `cmd:"" help:"Show what a model has learned since another."`
	Rebuild     policyRebuildCmd     `cmd:"" help:"Learn a model again from the log and compare; fail if it differs by more than 1e-9."`
	Rollback    policyRollbackCmd    `cmd:"" help:"Serve an earlier model again where the policy learns online; live learning pauses."`
	Resume      policyResumeCmd      `cmd:"" help:"Let a policy learn live again after a rollback."`
	Exploration policyExplorationCmd `cmd:"" help:"Predict what the log of a policy would be able to say about other policies."`
}

// policyVersion is the argument that names a policy version.
type policyVersion struct {
	Policy string `arg:"" help:"Policy version, such as lints@3." placeholder:"POLICY@VERSION"`
}

// path returns the version's path in the API.
func (p policyVersion) path() (string, error) {
	ref, err := nextbest.ParseRef(p.Policy)
	if err != nil {
		return "", err
	}
	if ref.Version == 0 {
		return "", fmt.Errorf("policy %q: name a version, such as %s@1", p.Policy, p.Policy)
	}
	return "/v1/policies/" + ref.ID + "/versions/" + strconv.FormatUint(ref.Version, 10), nil
}

type policyModelsCmd struct {
	remote
	policyVersion
	JSON bool `help:"Print the list as JSON on standard output."`
}

// listedModel is one model as the API lists it.
type listedModel struct {
	Version  uint64    `json:"version"`
	Actor    string    `json:"actor"`
	Reason   string    `json:"reason,omitempty"`
	Time     time.Time `json:"time"`
	Document struct {
		Hash      string           `json:"hash"`
		Placement string           `json:"placement"`
		Objective string           `json:"objective"`
		Trained   learning.Trained `json:"trained"`
		Base      uint64           `json:"base,omitempty"`
		Current   bool             `json:"current,omitempty"`
		Paused    bool             `json:"paused,omitempty"`
	} `json:"document"`
}

// Run prints a line for each model.
func (c *policyModelsCmd) Run(ctx context.Context, t *terminal) error {
	var list struct {
		Items []listedModel `json:"items"`
	}
	if err := askPolicy(ctx, t, c.remote, c.policyVersion, http.MethodGet, "/models", nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t.out, list)
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "model\trows\tmature at (W)\tposition (P)\tbase\thash\tby\t")
	for _, m := range list.Items {
		mark := ""
		if m.Document.Current {
			mark = "current"
		}
		if m.Document.Paused {
			mark = "current, learning is paused"
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%d\t%d\t%.12s\t%s\t%s\n", m.Version, m.Document.Trained.Rows, m.Document.Trained.MatureAt.Format(time.RFC3339),
			m.Document.Trained.Upto, m.Document.Base, m.Document.Hash, m.Actor, mark)
	}
	return w.Flush()
}

// askPolicy connects, calls one path below a policy version and disconnects.
func askPolicy(ctx context.Context, t *terminal, r remote, p policyVersion, method, below string, in, out any) error {
	path, err := p.path()
	if err != nil {
		return err
	}
	server, done, err := r.connect(ctx, t)
	if err != nil {
		return err
	}
	defer done()
	_, err = server.Call(ctx, method, path+below, in, out)
	return err
}

type policyDiffCmd struct {
	remote
	policyVersion
	From uint64 `arg:"" help:"Number of the first model."`
	To   uint64 `arg:"" help:"Number of the second model."`
	JSON bool   `help:"Print the differences as JSON on standard output."`
}

// Run prints the largest changes of each action.
func (c *policyDiffCmd) Run(ctx context.Context, t *terminal) error {
	var d learning.Diff
	if err := askPolicy(ctx, t, c.remote, c.policyVersion, http.MethodGet, fmt.Sprintf("/models/%d/diff/%d", c.From, c.To), nil, &d); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t.out, d)
	}
	fmt.Fprintf(t.out, "model %d to %d: %+d rows, noise %.4g to %.4g\n", d.From, d.To, d.RowsAdded, d.NoiseFrom, d.NoiseTo)
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "action\trows\tweight\tfrom\tto\tstandard errors")
	for _, a := range d.Actions {
		for i, v := range a.Weights {
			action, rows := "", ""
			if i == 0 {
				action, rows = a.Action, fmt.Sprintf("%.6g to %.6g", a.RowsFrom, a.RowsTo)
			} else if math.Abs(v.Change) < 1 {
				break // the first line of each action, and what has moved
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%.4g\t%.4g\t%+.2f\n", action, rows, v.Feature, v.From, v.To, v.Change)
		}
	}
	return w.Flush()
}

type policyRebuildCmd struct {
	remote
	policyVersion
	Model uint64 `help:"Number of the model; without it, the current one, or the newest where none is current." placeholder:"N"`
	JSON  bool   `help:"Print the result as JSON on standard output."`
}

// Run learns the model again and fails if it differs.
func (c *policyRebuildCmd) Run(ctx context.Context, t *terminal) error {
	path, err := c.path()
	if err != nil {
		return err
	}
	server, done, err := c.connect(ctx, t)
	if err != nil {
		return err
	}
	defer done()
	var r learning.Rebuilt
	if _, err := server.AwaitAt(ctx, path+"/rebuild", string(api.KindRebuild), api.RebuildRequest{Model: c.Model}, &r, func(rows int64) { t.progress("learning again: %d rows", rows) }); err != nil {
		return err
	}
	t.done()
	if c.JSON {
		if err := printJSON(t.out, r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(t.out, "model %d of %s: %d rows learned again in %.1f s, %d recorded\n", r.Model, r.Policy, r.Rows, r.Seconds, r.Recorded)
		fmt.Fprintf(t.out, "largest relative difference: A %.1e, b %.1e, n %.1e, sum r² %.1e (at most %.0e)\n", r.Difference.A, r.Difference.B, r.Difference.N, r.Difference.Squares, learning.Tolerance)
	}
	if !r.Same {
		return errFindings
	}
	return nil
}

type policyRollbackCmd struct {
	remote
	policyVersion
	Model  uint64 `arg:"" help:"Number of the model to serve."`
	Reason string `help:"Why, for the audit trail." required:""`
}

// Run moves the pointer back.
func (c *policyRollbackCmd) Run(ctx context.Context, t *terminal) error {
	if err := askPolicy(ctx, t, c.remote, c.policyVersion, http.MethodPost, "/rollback", map[string]any{"model": c.Model, "reason": c.Reason}, nil); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "model %d of %s is current; live learning is paused until nextbest policy resume\n", c.Model, c.Policy)
	return nil
}

type policyResumeCmd struct {
	remote
	policyVersion
	Reason string `help:"Why, for the audit trail." required:""`
}

// Run ends the pause.
func (c *policyResumeCmd) Run(ctx context.Context, t *terminal) error {
	if err := askPolicy(ctx, t, c.remote, c.policyVersion, http.MethodPost, "/resume", map[string]any{"reason": c.Reason}, nil); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s learns live again\n", c.Policy)
	return nil
}
