package bench

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Numpy is what plain numpy takes for the same estimators and bootstrap, on
// arrays that lie in memory already.
type Numpy struct {
	Version   string  `json:"version"`
	Seconds   float64 `json:"seconds"`
	Estimates float64 `json:"estimates_seconds"`
	Bootstrap float64 `json:"bootstrap_seconds"`
	Memory    float64 `json:"memory_mb"`
}

//go:embed numpy_baseline.py
var numpyBaseline string

// numpyVersion is installed where Python has no numpy.
const numpyVersion = "2.2.6"

// runNumpy runs the baseline.
func runNumpy(ctx context.Context, rows, replicates int, progress func(format string, args ...any)) (*Numpy, error) {
	python, err := pythonWithNumpy(ctx, progress)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, python, "-c", numpyBaseline, strconv.Itoa(rows), strconv.Itoa(evaluateActions), strconv.Itoa(replicates))
	var problems strings.Builder
	command.Stderr = &problems
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("the numpy baseline failed (%w): %s", err, strings.TrimSpace(problems.String()))
	}
	n := &Numpy{}
	return n, json.Unmarshal(out, n)
}

// pythonWithNumpy returns an interpreter that has numpy: the system's, or one of
// a virtual environment in the user's cache, made once.
func pythonWithNumpy(ctx context.Context, progress func(format string, args ...any)) (string, error) {
	system, err := exec.LookPath("python3")
	if err != nil {
		return "", errors.New("python3 is not installed; the numpy baseline needs it")
	}
	if exec.CommandContext(ctx, system, "-c", "import numpy").Run() == nil {
		return system, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "nextbest", "numpy-"+numpyVersion)
	python := filepath.Join(dir, "bin", "python")
	if exec.CommandContext(ctx, python, "-c", "import numpy").Run() == nil {
		return python, nil
	}
	progress("installing numpy %s", numpyVersion)
	for _, step := range [][]string{{system, "-m", "venv", dir}, {python, "-m", "pip", "install", "--quiet", "numpy==" + numpyVersion}} {
		if out, err := exec.CommandContext(ctx, step[0], step[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s (%w): %s", strings.Join(step, " "), err, strings.TrimSpace(string(out)))
		}
	}
	return python, nil
}
