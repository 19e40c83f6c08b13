package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"nextbest/bandit"
	"nextbest/offline/classification"
)

type simulateCmd struct {
	Classification simulateClassificationCmd `cmd:"" help:"Play a labelled data set as a bandit: an arm for each label, 1 for the right one."`
}

type simulateClassificationCmd struct {
	Data        string `help:"Data set as CSV with a header, gzip or not." type:"existingfile" required:"" placeholder:"FILE"`
	Label       string `help:"Column of the label; y, also when not given, stands for the last one where no column is called y. All others are features." placeholder:"COLUMN"`
	Policy      string `help:"Policy specification as JSON, at least {\"algorithm\":\"linucb\"}; its features are the data set's columns." type:"existingfile" required:"" placeholder:"FILE"`
	Seed        uint64 `help:"Seed of the draws, and of the order where none is given." default:"0"`
	Order       string `help:"CSV of the rows' numbers, from 0, in the order of play; without it, shuffled by the seed." type:"existingfile" placeholder:"FILE"`
	OrderColumn string `help:"Column of --order; without it, seed and the seed, such as seed0." placeholder:"COLUMN"`
	JSON        bool   `help:"Print the result as JSON on standard output."`
}

// simulatedClassification is what the command prints.
type simulatedClassification struct {
	Data     string      `json:"data"`
	Label    string      `json:"label"`
	Arms     int         `json:"arms"`
	Features int         `json:"features"` // encoded, the bias included
	Seed     uint64      `json:"seed"`
	Order    string      `json:"order"` // the file's column, or shuffled
	Policy   bandit.Spec `json:"policy"`
	classification.Play
}

// Run plays the data set; no platform is started.
func (c *simulateClassificationCmd) Run(t *terminal) error {
	document, err := os.ReadFile(c.Policy)
	if err != nil {
		return err
	}
	spec, err := bandit.ParseSpec(document)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Policy, err)
	}
	if c.OrderColumn != "" && c.Order == "" {
		return fmt.Errorf("--order-column %s needs --order, the file that it is a column of", c.OrderColumn)
	}
	var set *classification.Set
	if err := readFile(c.Data, func(r io.Reader) (err error) {
		set, err = classification.Read(r, c.Label)
		return err
	}); err != nil {
		return err
	}
	result := simulatedClassification{Data: c.Data, Label: set.Name, Arms: len(set.Arms), Features: len(set.Features), Seed: c.Seed, Order: "shuffled", Policy: spec}
	var order []int
	if c.Order == "" {
		order = set.Shuffled(c.Seed)
	} else if order, result.Order, err = c.order(set.Rows()); err != nil {
		return err
	}
	result.Play, err = set.Play(spec, order, c.Seed, func(rows int) { t.progress("%d of %d rows", rows, len(order)) })
	t.done()
	if err != nil {
		return fmt.Errorf("%s: %w", c.Data, err)
	}
	if c.JSON {
		return printJSON(t.out, result)
	}
	fmt.Fprintf(t.out, "%s: %d rows, %d arms (%s), %d features, order %s\n", result.Data, result.Rows, result.Arms, result.Label, result.Features, result.Order)
	fmt.Fprintf(t.out, "%s", spec.Algorithm)
	for _, name := range slices.Sorted(maps.Keys(spec.Params)) {
		fmt.Fprintf(t.out, " %s=%g", name, spec.Params[name])
	}
	fmt.Fprintf(t.out, ", seed %d\n", c.Seed)
	fmt.Fprintf(t.out, "  mean progressive reward %.4f; over the last tenth %.4f\n", result.Mean, result.Late)
	return nil
}

// order reads the order of n rows and returns it with the column's name.
func (c *simulateClassificationCmd) order(n int) (order []int, column string, err error) {
	column = c.OrderColumn
	if column == "" {
		column = fmt.Sprintf("seed%d", c.Seed)
	}
	err = readFile(c.Order, func(r io.Reader) (err error) {
		order, err = classification.ReadOrder(r, column, n)
		return err
	})
	return order, column, err
}

// readFile opens a file for read; errors name it.
func readFile(path string, read func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := read(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
