package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"nextbest"
	"nextbest/cmd/nextbest/client"
	"nextbest/internal/api"
	"nextbest/offline"
	"nextbest/offline/pages"
)

type evaluateCmd struct {
	remote
	Placement    string            `help:"Placement whose log answers."`
	Candidates   []string          `arg:"" optional:"" name:"candidate" help:"Policy version, with a model where it needs one: rules@2, lints@3/814."`
	Spec         []string          `help:"Policy that is not registered, from a JSON file with its specification; repeatable." placeholder:"NAME=FILE" sep:"none"`
	TrainFrom    time.Time         `help:"Specifications that learn are trained on decisions at or after (RFC 3339)."`
	TrainTo      time.Time         `help:"… on decisions before; evaluate from there on, with --from."`
	TrainSplit   string            `help:"… on these customers; evaluate others, with --split of the same salt." placeholder:"SALT:FROM:TO"`
	Source       string            `help:"Rows of this import alone, or live; without it, all."`
	From         time.Time         `help:"Decisions at or after (RFC 3339)."`
	To           time.Time         `help:"Decisions before (RFC 3339)."`
	Objective    string            `help:"Objective, id@version; without it, the placement's."`
	Reward       string            `help:"One reward kind instead of an objective."`
	Split        string            `help:"Only these customers: salt:from:to, such as s1:0.5:1." placeholder:"SALT:FROM:TO"`
	RewardMin    *float64          `help:"Least that one decision can be worth by the objective." placeholder:"N"`
	RewardMax    *float64          `help:"Most that one decision can be worth; a promotion's gate needs both." placeholder:"N"`
	Baseline     []string          `help:"Show this beside what ran, the best fixed action and do-nothing: fixed:ACTION, always that action where it is eligible." placeholder:"fixed:ACTION"`
	RewardModel  string            `help:"Of DM and DR: ridge, or logistic for rewards of 0 and 1; without it, ridge." enum:",ridge,logistic" default:"" placeholder:"KIND"`
	CrossFit     string            `help:"Which rows predict a row: customer (those of other customers) or time (earlier blocks of time); without it, time where the logger learned." placeholder:"BY"`
	Cluster      map[string]string `help:"Cluster of an action, for mips and offcem; others are clusters of their own." mapsep:"," placeholder:"ACTION=CLUSTER"`
	ClusterBy    string            `help:"Clusters from the actions' definitions instead: group or goal." placeholder:"MEMBER"`
	Distribution bool              `help:"Of rewards of several sizes: quantiles and the means of the worst and the best decisions."`
	Segment      []string          `help:"Show the candidates by this key as well: policy, day, arm, context.<key> or customer.<key>." placeholder:"KEY"`
	Tree         bool              `help:"Say for whom which action is best, by a tree of two questions."`
	Bootstrap    int               `help:"Replicates of a Poisson bootstrap by customer; 0: none." default:"0"`
	Seed         uint64            `help:"Seed of the cross-fitting folds." default:"7"`
	JSON         bool              `help:"Print the report as JSON on standard output."`
	HTML         string            `help:"Write the report as a page that stands alone." placeholder:"FILE"`
	Plot         string            `help:"Write the intervals as a picture (SVG)." placeholder:"FILE"`
	fileFlags
}

// Run evaluates and prints a table, or the report.
func (c *evaluateCmd) Run(ctx context.Context, t *terminal) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.File != "" {
		return c.runFile(ctx, t)
	}
	ask := api.Evaluation{Placement: c.Placement, Source: c.Source, From: c.From, To: c.To, Objective: c.Objective, Reward: c.Reward, Seed: c.Seed, RewardMin: c.RewardMin, RewardMax: c.RewardMax,
		Baselines: c.Baseline, Estimators: c.Estimator, RewardModel: c.RewardModel, Bootstrap: c.Bootstrap, Segments: c.Segment, Tree: c.Tree,
		CrossFit: c.CrossFit, Clusters: c.Cluster, ClusterBy: c.ClusterBy, Distribution: c.Distribution}
	for _, name := range c.Candidates {
		policy, number, has := strings.Cut(name, "/")
		ref := api.CandidateRef{Policy: policy}
		if has {
			n, err := strconv.ParseUint(number, 10, 64)
			if err != nil {
				return fmt.Errorf("candidate %q: the model after / must be a number, such as lints@3/814", name)
			}
			ref.Model = n
		}
		ask.Candidates = append(ask.Candidates, ref)
	}
	specs, err := c.specs()
	if err != nil {
		return err
	}
	ask.Candidates = append(ask.Candidates, specs...)
	if ask.Split, err = parseSplit(c.Split); err != nil {
		return err
	}
	server, done, err := c.connect(ctx, t)
	if err != nil {
		return err
	}
	defer done()
	var report offline.Report
	if _, err := server.AwaitOf(ctx, "/v1/evaluations", "evaluations", ask, &report, t.bar("evaluating")); err != nil {
		return err
	}
	t.done()
	page, err := pages.OfRun(&report)
	if err != nil {
		return err
	}
	if err := c.writePage(page); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t.out, report)
	}
	return report.WriteTable(t.out)
}

// check says which flags belong together: a file's, or a placement's.
func (c *evaluateCmd) check() error {
	var p nextbest.Problems
	if c.File != "" {
		if c.Placement != "" || len(c.Candidates)+len(c.Spec) > 0 {
			p.Add("--file", "a file names its candidate by its columns: leave out --placement, --spec and candidates")
		}
		c.checkPlacementFlags(&p)
		checkOutputs(&p, c.HTML, c.Plot, c.File)
		return p.Err("evaluate")
	}
	if c.Placement == "" {
		p.Add("--placement", "name the placement whose log answers, or give a log file with --file")
	}
	if len(c.Candidates)+len(c.Spec) == 0 {
		p.Add("candidate", "name a policy version to evaluate, such as rules@2 or lints@3/814, or give a specification with --spec")
	}
	if len(c.Map)+len(c.Actions) > 0 || c.Floor != 0 || c.MaxWeight != 0 || c.Logger != "" {
		p.Add("--file", "--map, --actions, --floor, --max-weight and --logger are for log files: give one with --file")
	}
	var inputs []string
	for _, spec := range c.Spec {
		if _, file, ok := strings.Cut(spec, "="); ok {
			inputs = append(inputs, file)
		}
	}
	checkOutputs(&p, c.HTML, c.Plot, inputs...)
	return p.Err("evaluate")
}

// parseSplit parses salt:from:to; nil for no text.
func parseSplit(text string) (*nextbest.Split, error) {
	if text == "" {
		return nil, nil
	}
	parts := strings.Split(text, ":")
	if len(parts) == 3 {
		from, err1 := strconv.ParseFloat(parts[1], 64)
		to, err2 := strconv.ParseFloat(parts[2], 64)
		if err1 == nil && err2 == nil && 0 <= from && from < to && to <= 1 {
			return &nextbest.Split{Salt: parts[0], From: from, To: to}, nil
		}
	}
	return nil, fmt.Errorf("split %q: write salt:from:to with 0 ≤ from < to ≤ 1, such as s1:0.5:1", text)
}

// printJSON writes one JSON document.
func printJSON(out *os.File, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

type verifyCmd struct {
	remote
	Placement string    `help:"Only this placement."`
	From      time.Time `help:"Decisions at or after (RFC 3339)."`
	To        time.Time `help:"Decisions before (RFC 3339)."`
	JSON      bool      `help:"Print the result as JSON on standard output."`
}

// Run replays the range and fails if anything differs.
func (c *verifyCmd) Run(ctx context.Context, t *terminal) error {
	server, done, err := c.connect(ctx, t)
	if err != nil {
		return err
	}
	defer done()
	var v api.Verified
	ask := api.Verification{Placement: c.Placement, From: c.From, To: c.To}
	if _, err := server.Await(ctx, "verifications", ask, &v, func(rows int64) { t.progress("replaying: %d decisions", rows) }); err != nil {
		return err
	}
	t.done()
	if c.JSON {
		if err := printJSON(t.out, v); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(t.out, replayed(&v))
		for _, d := range v.Different {
			fmt.Fprintf(t.out, "%s slot %d: %s\n", d.DecisionID, d.Slot, d.What)
		}
	}
	if v.Identical != v.Checked {
		return errFindings
	}
	return nil
}

// replayed says what a replay found.
func replayed(v *api.Verified) string {
	switch {
	case v.Checked == 0 && v.Skipped > 0:
		return fmt.Sprintf("nothing to replay: %d imported rows were skipped", v.Skipped)
	case v.Checked == 0:
		return "nothing to replay: there is no decision in the range"
	case v.Skipped > 0:
		return fmt.Sprintf("%d of %d decisions replayed identically; %d imported rows were skipped", v.Identical, v.Checked, v.Skipped)
	}
	return fmt.Sprintf("%d of %d decisions replayed identically", v.Identical, v.Checked)
}

type importCmd struct {
	remote
	File          string `arg:"" help:"NDJSON file, one decision a line; docs/api.md has the fields." type:"existingfile"`
	Name          string `help:"Name of the import; it becomes the rows' source." required:""`
	Placement     string `help:"Placement where the rows belong." required:""`
	Randomisation string `help:"How the rows were randomised: uniform, or weights:a=0.5,b=0.5." placeholder:"HOW"`
}

// Run sends the file.
func (c *importCmd) Run(ctx context.Context, t *terminal) error {
	body, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	server, done, err := c.connect(ctx, t)
	if err != nil {
		return err
	}
	defer done()
	out, err := server.Import(ctx, client.ImportOptions{Name: c.Name, Placement: c.Placement, Randomisation: c.Randomisation}, body)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "imported %d decisions and %d rewards as %s\n", out.Rows, out.Rewards, out.Name)
	return nil
}
