package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"nextbest"
	"nextbest/offline"
	"nextbest/offline/pages"
)

// fileFlags ask for the evaluation of a log file, without a server.
type fileFlags struct {
	File      string            `help:"Evaluate this log file (.parquet, .csv, .csv.gz) instead; no server is needed. docs/evaluating-files.md has the columns." placeholder:"FILE"`
	Map       map[string]string `help:"With --file: its columns by field, such as propensity=pscore." mapsep:"," placeholder:"FIELD=COLUMN"`
	Actions   []string          `help:"With --file: the actions' names in the order of its lists, where actions are names." placeholder:"NAME"`
	Estimator []string          `help:"Estimators, with hyperparameters as in switch_dr:tau=10, beside the usual ones; without it, of a file all that its columns allow." placeholder:"NAME[:PARAM=VALUE]"`
	Floor     float64           `help:"With --file: least probability that the logger could give any action, by its design." placeholder:"P"`
	MaxWeight float64           `help:"With --file: largest weight that is possible, where no floor can be given." placeholder:"W"`
	Logger    string            `help:"With --file: fixed or adaptive; without it, the log's own drift decides." placeholder:"KIND"`
	Level     float64           `help:"With --file: confidence of the intervals." default:"0.95"`
}

// runFile evaluates the file.
func (c *evaluateCmd) runFile(ctx context.Context, t *terminal) error {
	report, err := offline.EvaluateFile(ctx, c.File, offline.FileOptions{Map: c.Map, Actions: c.Actions, Estimators: c.Estimator, Floor: c.Floor, MaxWeight: c.MaxWeight,
		RewardMin: c.RewardMin, RewardMax: c.RewardMax, Logger: c.Logger, Clusters: c.Cluster, Distribution: c.Distribution, Level: c.Level, Seed: c.Seed},
		func(rows int64) { t.progress("evaluating: %d rows", rows) })
	t.done()
	if err != nil {
		return err
	}
	page, err := pages.OfFile(report)
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

// checkPlacementFlags refuses what means nothing of a file, by name and with what
// to do instead.
func (c *evaluateCmd) checkPlacementFlags(p *nextbest.Problems) {
	const rows = "a file is evaluated whole: write those rows alone to a file of their own, and leave this out"
	const columns = "a file says it by its columns: leave this out"
	for _, f := range []struct {
		flag  string
		given bool
		why   string
	}{
		{"--source", c.Source != "", rows},
		{"--from", !c.From.IsZero(), rows},
		{"--to", !c.To.IsZero(), rows},
		{"--split", c.Split != "", rows},
		{"--objective", c.Objective != "", columns + "; reward holds what a row was worth"},
		{"--reward", c.Reward != "", columns + "; --map reward=COLUMN names another reward"},
		{"--reward-model", c.RewardModel != "", columns + "; predicted_rewards holds a model's predictions"},
		{"--cross-fit", c.CrossFit != "", columns + "; predicted_rewards holds predictions, which you fit on other rows"},
		{"--train-from", !c.TrainFrom.IsZero(), "nothing is trained for a file: leave this out"},
		{"--train-to", !c.TrainTo.IsZero(), "nothing is trained for a file: leave this out"},
		{"--train-split", c.TrainSplit != "", "nothing is trained for a file: leave this out"},
		{"--cluster-by", c.ClusterBy != "", "a file has no definitions of actions: give clusters with --cluster ACTION=CLUSTER"},
		{"--baseline", len(c.Baseline) > 0, "a file has one candidate: evaluate the baseline's probabilities as a file of their own"},
		{"--segment", len(c.Segment) > 0, "it is for placements: write the segment's rows alone to a file of their own"},
		{"--tree", c.Tree, "it is for placements, whose log has what was known of customers: leave this out"},
		{"--bootstrap", c.Bootstrap != 0, "it is for placements: a file's intervals are those that its log allows; leave this out"},
	} {
		if f.given {
			p.Add(f.flag, "it means nothing with --file: %s", f.why)
		}
	}
}

// writePage writes the page and the plot that were asked for.
func (c *evaluateCmd) writePage(page *pages.Page) error { return writePage(page, c.HTML, c.Plot) }

// writePage writes a page and its plot to files, "" for neither.
func writePage(page *pages.Page, html, plot string) error {
	for _, f := range []struct {
		path  string
		write func(io.Writer) error
	}{{html, page.WriteHTML}, {plot, page.WritePlot}} {
		if f.path == "" {
			continue
		}
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		if err := os.WriteFile(f.path, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
