package offline

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"nextbest"
)

// A file that is not what it seems is refused with what to do, by the row and the
// line where it has them.
func TestFileSaysWhatIsWrong(t *testing.T) {
	const header = "reward,action,propensity,pi_e_action\n"
	for name, c := range map[string]struct {
		file, text string
		want       []string
	}{
		"not there":       {"nothere.parquet", "", []string{"there is no /", "nothere.parquet: check the name"}},
		"not there, text": {"nothere.csv", "", []string{"there is no /", "nothere.csv: check the name"}},
		"empty":           {"log.csv", "", []string{"is empty", "header line"}},
		"empty parquet":   {"log.parquet", "PAR1", []string{"is no Parquet file", "again"}},
		"no gzip":         {"log.csv.gz", header, []string{"not compressed by gzip"}},
		"cells":           {"log.csv", header + "1,0,0.5,1\n1,0,0.5\n", []string{"line 3", "number of fields"}},
		"quotes":          {"log.csv", header + "1,0,0.5,\"1\n", []string{"line 2", "quotes"}},
		"twice":           {"log.csv", "reward," + header + "1,1,0,0.5,1\n", []string{`2 columns called "reward"`}},
		"line":            {"log.csv", "note," + header + "\"a\nb\",1,0,0.5,1\n\nc,1,0,x,1\n", []string{"row 2, line 5 (missing or not a number)", "rows count from 1"}},
		"no JSON":         {"log.csv", "reward,action,propensity,pi_e\n1,0,0.5,\"[0.5,0.5]\"\n1,0,0.5,\"[0.5 0.5]\"\n", []string{"row 2, line 3 (no values: no list such as"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), c.file)
			if !strings.HasPrefix(name, "not there") {
				if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := EvaluateFile(t.Context(), path, FileOptions{}, nil)
			if err == nil || nextbest.CodeOf(err) != nextbest.Invalid {
				t.Fatalf("%v, want what is invalid", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v\nlacks %q", err, w)
				}
			}
		})
	}
	folder := filepath.Join(t.TempDir(), "log.csv")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := EvaluateFile(t.Context(), folder, FileOptions{}, nil); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
}

// Actions that are written as 1.0 have the numbers of the lists.
func TestFileWholeActions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.csv")
	if err := os.WriteFile(path, []byte("reward,action,propensity,pi_e\n1,1.0,0.5,\"[0.25,0.75]\"\n0,0.0,0.5,\"[0.25,0.75]\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if e, _ := evaluateFile(t, path, FileOptions{}).Estimate("ips"); *e.Value != 0.75 {
		t.Errorf("IPS %v, want 0.75", *e.Value)
	}
}

// Numbers beyond all measure are refused: their powers would be no numbers, and a
// report with one could not be written.
func TestFileBeyondMeasure(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(r []logRow)
		o     FileOptions
		want  string
	}{
		"reward":     {func(r []logRow) { r[2].reward = -1.7e308 }, FileOptions{}, "reward: 1 of 50 rows: it is beyond"},
		"prediction": {func(r []logRow) { r[2].q = []float64{0, 1e200, 0} }, FileOptions{}, "a prediction is beyond"},
		"propensity": {func(r []logRow) { r[2].propensity = 1e-300 }, FileOptions{}, "row 3 (1e-300)"},
		"floor":      {nil, FileOptions{Floor: 1e-300}, "floor"},
		"weight":     {nil, FileOptions{MaxWeight: 1e300}, "max_weight"},
		"range":      {nil, FileOptions{RewardMin: ptr(0), RewardMax: ptr(1e300)}, "reward_max"},
	} {
		rows := simulatedLog(50, 9)
		if c.spoil != nil {
			c.spoil(rows)
		}
		if _, err := EvaluateFile(t.Context(), writeParquet(t, rows, plain, 20), c.o, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rows := simulatedLog(500, 9) // as large as may be: the report has numbers alone
	for i := range rows {
		rows[i].reward *= beyondMeasure
		rows[i].q = []float64{0, beyondMeasure, -beyondMeasure}
		if i%2 == 0 {
			rows[i].propensity = 2 / beyondMeasure
		}
	}
	evaluateFile(t, writeParquet(t, rows, plain, 200), FileOptions{Floor: 1 / beyondMeasure, RewardMin: ptr(0), RewardMax: ptr(beyondMeasure)})
	evaluateFile(t, writeParquet(t, rows, plain, 200), FileOptions{})
}

// Columns that hold nothing at all have a type of their own.
func TestFileNullColumns(t *testing.T) {
	rows := simulatedLog(20, 10)
	for i := range rows {
		rows[i].reward = math.NaN()
	}
	empty := plain
	empty.reward = arrow.Null
	if _, err := EvaluateFile(t.Context(), writeParquet(t, rows, empty, 20), FileOptions{}, nil); err == nil || !strings.Contains(err.Error(), "20 of 20 rows: it must be a finite number: row 1 (missing") {
		t.Errorf("%v", err)
	}
}
