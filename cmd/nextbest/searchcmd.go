package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"nextbest"
	"nextbest/internal/api"
	"nextbest/offline"
	"nextbest/offline/pages"
)

type searchCmd struct {
	remote
	Placement   string    `help:"Placement whose log answers." required:""`
	Spec        []string  `help:"Policy specification to start from, a JSON file; repeatable, with a name where there are several." placeholder:"[NAME=]FILE" sep:"none"`
	Grid        []string  `help:"Values to try of a parameter; repeatable, and all combinations are tried. It is for every specification that has the parameter, or with NAME: for one." placeholder:"[NAME:]PARAM=V,V,…" sep:"none"`
	From        time.Time `help:"Decisions at or after (RFC 3339)."`
	TrainTo     time.Time `help:"Train on decisions before; choose from there on. Without it, by --shares."`
	SelectTo    time.Time `help:"Choose on decisions before; judge the winner from there on."`
	To          time.Time `help:"Decisions before (RFC 3339)."`
	MatureAt    time.Time `help:"Only decisions whose window had closed by then; without it, now."`
	Shares      string    `help:"Shares of the time to train and to choose on; the gate part has the rest." placeholder:"TRAIN,SELECT"`
	Salt        string    `help:"Parts of customers instead of times, by this salt."`
	Source      string    `help:"Rows of this import alone, or live; without it, all."`
	Objective   string    `help:"Objective, id@version; without it, the placement's."`
	RewardMin   *float64  `help:"Least that one decision can be worth by the objective." placeholder:"N"`
	RewardMax   *float64  `help:"Most that one decision can be worth; the gate needs both unless rewards are conversions." placeholder:"N"`
	RewardModel string    `help:"Of DR: ridge, or logistic for rewards of 0 and 1." enum:"ridge,logistic" default:"ridge"`
	Seed        uint64    `help:"Seed of the cross-fitting folds." default:"7"`
	Policy      string    `help:"Policy that the winner becomes a version of; without it, named like the specification." placeholder:"ID"`
	Anyway      bool      `help:"Register the best even where it cannot be told from what ran; the gate part then decides."`
	Experiment  string    `help:"Where the gate is passed: write a draft experiment of the winner against what is served. Nobody starts it." placeholder:"ID"`
	Primary     string    `help:"Reward kind of that experiment, where the objective has several." placeholder:"REWARD"`
	JSON        bool      `help:"Print the report as JSON on standard output."`
	HTML        string    `help:"Write the report as a page that stands alone." placeholder:"FILE"`
	Plot        string    `help:"Write the intervals as a picture (SVG)." placeholder:"FILE"`
}

// Run searches and prints a table, or the report.
func (c *searchCmd) Run(ctx context.Context, t *terminal) error {
	if err := c.checkOutputs(); err != nil {
		return err
	}
	ask, err := c.request()
	if err != nil {
		return err
	}
	server, done, err := c.connect(ctx, t)
	if err != nil {
		return err
	}
	defer done()
	var report offline.SearchReport
	if _, err := server.AwaitOf(ctx, "/v1/searches", "searches", ask, &report, t.bar("searching")); err != nil {
		return err
	}
	t.done()
	page, err := pages.OfSearch(&report)
	if err != nil {
		return err
	}
	if err := writePage(page, c.HTML, c.Plot); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(t.out, report)
	}
	return report.WriteTable(t.out)
}

// request is what the flags ask for.
func (c *searchCmd) request() (*api.Search, error) {
	ask := &api.Search{Placement: c.Placement, Source: c.Source, Objective: c.Objective, From: c.From, TrainTo: c.TrainTo, SelectTo: c.SelectTo, To: c.To, MatureAt: c.MatureAt, Salt: c.Salt,
		RewardMin: c.RewardMin, RewardMax: c.RewardMax, RewardModel: c.RewardModel, Seed: c.Seed, Policy: c.Policy, Anyway: c.Anyway}
	if c.Shares != "" {
		parts := strings.Split(c.Shares, ",")
		s := &offline.Shares{}
		ok := len(parts) == 2
		for i, v := range []*float64{&s.Train, &s.Select} {
			if ok {
				var err error
				*v, err = strconv.ParseFloat(parts[i], 64)
				ok = err == nil
			}
		}
		if !ok {
			return nil, fmt.Errorf("--shares %q: write TRAIN,SELECT, such as 0.5,0.25", c.Shares)
		}
		ask.Shares = s
	}
	switch {
	case c.Experiment != "":
		ask.Experiment = &api.SearchExperiment{ID: c.Experiment, Reward: c.Primary}
	case c.Primary != "":
		return nil, errors.New("--primary is for an experiment: give its id with --experiment")
	}
	var err error
	ask.Specs, err = c.specs()
	return ask, err
}

// specs reads the specifications and gives each its part of the grid.
func (c *searchCmd) specs() ([]api.SearchSpec, error) {
	if len(c.Spec) == 0 {
		return nil, errors.New("--spec is missing: give a policy specification to start from, a JSON file")
	}
	var out []api.SearchSpec
	var has []map[string]float64 // parameters
	for _, text := range c.Spec {
		name, file, ok := strings.Cut(text, "=")
		if !ok {
			file = text
			name = strings.ToLower(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
		}
		if !nextbest.ValidID(name) || file == "" {
			return nil, fmt.Errorf("--spec %q: write NAME=FILE.json, the name in lower-case letters, digits, hyphens and underscores", text)
		}
		policy, err := readSpec(file)
		if err != nil {
			return nil, fmt.Errorf("--spec %s: %w", name, err)
		}
		spec, _, err := policy.Document()
		if err != nil {
			return nil, fmt.Errorf("--spec %s: %s: %w", name, file, err)
		}
		out = append(out, api.SearchSpec{Name: name, Spec: *policy, Grid: map[string][]float64{}})
		has = append(has, spec.Params)
	}
	for _, text := range c.Grid {
		of, param, values, err := parseGrid(text)
		if err != nil {
			return nil, err
		}
		taken := false
		for i := range out {
			if _, ok := has[i][param]; !ok && of == "" || of != "" && of != out[i].Name {
				continue
			}
			if out[i].Grid[param] != nil {
				return nil, fmt.Errorf("--grid %s: %s of %s is given twice; write all its values at once", text, param, out[i].Name)
			}
			out[i].Grid[param], taken = values, true
		}
		switch {
		case !taken && of != "":
			return nil, fmt.Errorf("--grid %s: there is no specification %s", text, of)
		case !taken:
			var names []string
			for i := range out {
				names = append(names, fmt.Sprintf("%s has %s", out[i].Name, strings.Join(slices.Sorted(maps.Keys(has[i])), ", ")))
			}
			return nil, fmt.Errorf("--grid %s: no specification has a parameter %s; %s", text, param, strings.Join(names, "; "))
		}
	}
	return out, nil
}

// parseGrid parses [name:]param=v,v,….
func parseGrid(text string) (of, param string, values []float64, err error) {
	left, right, ok := strings.Cut(text, "=")
	param = left
	if name, p, named := strings.Cut(left, ":"); named {
		of, param = name, p
	}
	if !ok || param == "" || right == "" {
		return "", "", nil, fmt.Errorf("--grid %q: write PARAM=V,V,…, such as alpha=0.25,0.5,1", text)
	}
	for v := range strings.SplitSeq(right, ",") {
		f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err != nil {
			return "", "", nil, fmt.Errorf("--grid %s: %q is not a number", text, v)
		}
		values = append(values, f)
	}
	return of, param, values, nil
}

// checkOutputs refuses a page or a plot that would overwrite a specification.
func (c *searchCmd) checkOutputs() error {
	var p nextbest.Problems
	var inputs []string
	for _, spec := range c.Spec {
		_, file, named := strings.Cut(spec, "=")
		if !named {
			file = spec
		}
		inputs = append(inputs, file)
	}
	checkOutputs(&p, c.HTML, c.Plot, inputs...)
	return p.Err("search")
}
