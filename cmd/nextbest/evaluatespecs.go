package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"nextbest/internal/api"
)

// specs reads the candidates of --spec. Those that learn are trained on the rows
// of --train-from, --train-to and --train-split.
func (c *evaluateCmd) specs() ([]api.CandidateRef, error) {
	split, err := parseSplit(c.TrainSplit)
	if err != nil {
		return nil, err
	}
	var train *api.TrainingSet
	if !c.TrainFrom.IsZero() || !c.TrainTo.IsZero() || split != nil {
		train = &api.TrainingSet{From: c.TrainFrom, To: c.TrainTo, Split: split}
	}
	var out []api.CandidateRef
	trained := false
	for _, text := range c.Spec {
		name, file, ok := strings.Cut(text, "=")
		if !ok || name == "" || file == "" {
			return nil, fmt.Errorf("--spec %q: write NAME=FILE.json", text)
		}
		policy, err := readSpec(file)
		if err != nil {
			return nil, fmt.Errorf("--spec %s: %w", name, err)
		}
		spec, _, err := policy.Document()
		if err != nil {
			return nil, fmt.Errorf("--spec %s: %s: %w", name, file, err)
		}
		ref := api.CandidateRef{Name: name, Spec: policy}
		switch {
		case spec.Learns() && train == nil:
			return nil, fmt.Errorf("--spec %s: %s learns: say on which rows with --train-to or --train-split", name, spec.Algorithm)
		case spec.Learns():
			ref.Train, trained = train, true
		}
		out = append(out, ref)
	}
	if train != nil && !trained {
		return nil, errors.New("--train-from, --train-to and --train-split are for specifications that learn: give one with --spec")
	}
	return out, nil
}

// readSpec reads a policy specification from a file.
func readSpec(file string) (*api.Policy, error) {
	if err := inputFile(file); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	var p api.Policy
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: something follows the specification", file)
	}
	return &p, nil
}
