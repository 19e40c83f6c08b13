package offline

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nextbest/estimators"
)

// tableOf is a report as the terminal has it.
func tableOf(t *testing.T, r *FileReport) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// writeText writes a CSV file.
func writeText(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// variedLog has predictions that differ from row to row, so that DM has an
// interval.
func variedLog() []logRow {
	rows := simulatedLog(3000, 1)
	for i := range rows {
		rows[i].q = []float64{0.125, 0.25 + float64(i%10)/100, 0.25}
	}
	return rows
}

// Estimators that are asked for come beside the usual ones, whose values stay, and
// each once.
func TestFileEstimatorsBeside(t *testing.T) {
	path := writeParquet(t, variedLog(), plain, 1000)
	all := evaluateFile(t, path, FileOptions{Floor: 0.2})
	r := evaluateFile(t, path, FileOptions{Floor: 0.2, Estimators: []string{"clipped_ips:max=2", "dr", "clipped_ips:max=2"}})
	var names []string
	for _, e := range r.Estimates {
		names = append(names, e.Name)
		if w, ok := all.Estimate(e.Name); ok && (*w.Value != *e.Value || *w.Low != *e.Low) {
			t.Errorf("%s is %v from %v, alone %v from %v", e.Name, *e.Value, *e.Low, *w.Value, *w.Low)
		}
	}
	if want := []string{"ips", "snips", "dm", "dr", "clipped_ips:max=2"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

// The sentence says whose value and whose difference it gives, and a table with
// intervals is never said to have none.
func TestFileVerdict(t *testing.T) {
	r := evaluateFile(t, writeParquet(t, simulatedLog(3000, 1), plain, 1000), FileOptions{Floor: 0.2})
	dr, _ := r.Estimate("dr")
	for _, want := range []string{"earned " + number(*dr.Value) + " [", "per row by DR, where", "; by the difference of IPS, better than what ran (" + signed(*r.VsLogged.Value)} {
		if !strings.Contains(r.Verdict, want) {
			t.Errorf("%s\nlacks %q", r.Verdict, want)
		}
	}
	for _, name := range []string{"dr", "ips", "snips"} { // as where no such interval can be computed
		e, _ := r.Estimate(name)
		e.Low, e.High, e.Interval = nil, nil, ""
	}
	if v := r.verdict(); strings.Contains(v, "no interval could be had") || !strings.Contains(v, "none of DR, IPS and SNIPS has an interval of the kind") {
		t.Errorf("a table with intervals of other estimators: %s", v)
	}
	for i := range r.Estimates {
		r.Estimates[i].Low = nil
	}
	if v := r.verdict(); !strings.Contains(v, "no interval could be had") {
		t.Errorf("a table without intervals: %s", v)
	}
}

// Intervals that know nothing of a bias say so, as those of a placement's log do.
func TestFileNotesOfBias(t *testing.T) {
	r := evaluateFile(t, writeParquet(t, variedLog(), plain, 1000), FileOptions{Floor: 0.2, Estimators: []string{"clipped_ips", "dros", "switch_dr:tau=slope", "sndr"}})
	table := tableOf(t, r)
	for name, note := range map[string]string{"clipped_ips:max=10": "knows nothing of the bias", "dros:lambda=100": "knows nothing of the bias", "dm": "knows nothing of the bias",
		"switch_dr:tau=slope": "knows nothing of the choice of tau"} {
		e, ok := r.Estimate(name)
		if !ok || !strings.Contains(e.Note, note) || !strings.Contains(table, "note: "+name+": "+e.Note) {
			t.Errorf("%s: %+v, in\n%s", name, e, table)
		}
	}
	for _, name := range []string{"ips", "dr", "sndr"} {
		if e, _ := r.Estimate(name); strings.Contains(e.Note, "bias;") || strings.Contains(e.Note, "nothing of the bias") {
			t.Errorf("%s: %s", name, e.Note)
		}
	}
}

// Predictions that no reward can be are warned of.
func TestFilePredictionsOutside(t *testing.T) {
	rows := simulatedLog(1000, 2)
	said := func(o FileOptions) bool {
		return strings.Contains(strings.Join(evaluateFile(t, writeParquet(t, rows, plain, 1000), o).Warnings, "\n"), "predictions lie outside the range of rewards: ")
	}
	if said(FileOptions{}) {
		t.Error("predictions of .125 and .25 are said to lie outside 0 to 1")
	}
	for i := range rows {
		rows[i].q = []float64{1.2, 2.8, 1.5}
	}
	if !said(FileOptions{}) {
		t.Error("predictions up to 2.8 of rewards of 0 and 1: no warning")
	}
	if said(FileOptions{RewardMin: ptr(0), RewardMax: ptr(3)}) {
		t.Error("rewards up to 3 are declared, and predictions up to 2.8 are warned of")
	}
}

// A logger that never varied is told from wrong propensities.
func TestFileCertainLogger(t *testing.T) {
	rows := simulatedLog(2000, 3)
	for i := range rows {
		rows[i].propensity = 1
	}
	r := evaluateFile(t, writeParquet(t, rows, plain, 1000), FileOptions{})
	if len(r.Refusals) == 0 || r.Refusals[0].Code != estimators.RefusedDeterministic || !strings.Contains(r.Verdict, "every action was certain") {
		t.Errorf("%+v, %s", r.Refusals, r.Verdict)
	}
	if r.Bounds == nil || *r.Bounds.Low > 0.225 || *r.Bounds.High < 0.225 {
		t.Errorf("bounds %+v, truth 0.225", r.Bounds)
	}
	if s := fmt.Sprint(r.Refusals, r.Warnings); strings.Contains(s, "weights average") || strings.Contains(s, "less often than its propensities") {
		t.Errorf("the propensities are accused: %s", s)
	}
	rows[7].propensity = 0.5 // one that varied: then they can be judged
	r = evaluateFile(t, writeParquet(t, rows, plain, 1000), FileOptions{})
	if s := fmt.Sprint(r.Refusals); strings.Contains(s, "certain") || !strings.Contains(s, estimators.RefusedWeights) {
		t.Errorf("%s", s)
	}
}

const listHeader = "reward,action,propensity,evaluation_probabilities,logger_probabilities\n"

// Clusters of actions that the log does not have are named, and clusters that
// cannot be weighed are not passed over.
func TestFileUnknownClusters(t *testing.T) {
	path := writeText(t, listHeader+"1,a,0.5,\"[0.2,0.8]\",\"[0.5,0.5]\"\n0,b,0.5,\"[0.2,0.8]\",\"[0.5,0.5]\"\n")
	o := FileOptions{Actions: []string{"a", "b"}, Clusters: map[string]string{"a": "x", "d": "x"}}
	if r := evaluateFile(t, path, o); !slices.Contains(r.Warnings, "clusters name actions that the log does not have: d") {
		t.Errorf("%q", r.Warnings)
	}
	path = writeText(t, "reward,action,propensity,evaluation_probability\n1,a,0.5,1\n0,b,0.5,0\n")
	if r := evaluateFile(t, path, FileOptions{Clusters: o.Clusters}); !strings.Contains(fmt.Sprint(r.Missing), "--cluster needs logger_probabilities") {
		t.Errorf("%+v", r.Missing)
	}
}

// Messages name what is wrong and its cure, and nothing that follows from it.
func TestFileMessages(t *testing.T) {
	const header = "reward,action,propensity,evaluation_probabilities\n"
	const good = "1,a,0.5,\"[0.2,0.8]\"\n"
	ab := FileOptions{Actions: []string{"a", "b"}}
	for name, c := range map[string]struct {
		text       string
		o          FileOptions
		want, none string
	}{
		"unknown action":     {header + good + "1,c,0.5,\"[0.2,0.8]\"\n", ab, "none of the actions named by --actions (a, b): row 2, line 3 (c)", ""},
		"too few names":      {header + "1,a,0.5,\"[0.2,0.3,0.5]\"\n", ab, "2 actions are named, and the lists have 3", ""},
		"Latin-1":            {header + good + "1,caf\xe9,0.5,\"[0.2,0.8]\"\n", ab, "log.csv, line 3: the text is not in UTF-8", ""},
		"Latin-1 header":     {"pr\xe9mio," + header, ab, "log.csv, line 1: the text is not in UTF-8", ""},
		"UTF-16":             {"\xff\xfer\x00e\x00w\x00", ab, "not in UTF-8", ""},
		"NaN":                {header + "1,a,0.5,\"[NaN, 0.8]\"\n", ab, "every probability must be in [0, 1]: row 1, line 2 (missing or not a number)", "length"},
		"NaN predicted":      {"reward,action,propensity,evaluation_probability,predicted_rewards\n1,0,0.5,1,\"[0.5,NaN]\"\n", FileOptions{}, "every prediction must be a finite number", "no values"},
		"Infinity predicted": {"reward,action,propensity,evaluation_probability,predicted_rewards\n1,0,0.5,1,\"[0.5,-Infinity]\"\n", FileOptions{}, "row 1, line 2 (-Inf)", "no values"},
		"semicolons":         {strings.ReplaceAll(header, ",", ";") + "1;a;0,5;[1]\n", ab, "log.csv seems to be separated by semicolons", "no such column"},
		"tabs":               {strings.ReplaceAll(header, ",", "\t") + "1\ta\t0.5\t[1]\n", ab, "log.csv seems to be separated by tabs", "no such column"},
		"bad propensity":     {listHeader + "1,a,0,\"[0.2,0.8]\",\"[0.5,0.5]\"\n", ab, "it must be a probability in (0, 1]", "do not have the row's propensity"},
		"other propensity":   {listHeader + "1,a,0.4,\"[0.2,0.8]\",\"[0.5,0.5]\"\n", ab, "do not have the row's propensity", "(0, 1]"},
	} {
		_, err := EvaluateFile(t.Context(), writeText(t, c.text), c.o, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || c.none != "" && strings.Contains(err.Error(), c.none) {
			t.Errorf("%s: %v\nwant %q, not %q", name, err, c.want, c.none)
		}
	}
}

// Log-smoothing's default follows the size of rewards, as on a placement's log.
func TestFileLogSmoothing(t *testing.T) {
	rows := simulatedLog(3000, 5)
	one := evaluateFile(t, writeParquet(t, rows, plain, 1000), FileOptions{})
	for i := range rows {
		rows[i].reward *= 200
	}
	many := evaluateFile(t, writeParquet(t, rows, plain, 1000), FileOptions{})
	a, ok1 := one.Estimate("log_smoothing:lambda=0.01")
	b, ok2 := many.Estimate("log_smoothing:lambda=5e-05")
	if !ok1 || !ok2 || math.Abs(*a.Value*200 / *b.Value - 1) > 1e-9 {
		t.Fatalf("%+v, of rewards of 200 %+v", a, b)
	}
	if !strings.Contains(b.Note, "divided by the largest") || b.Parameters["lambda"] != 5e-05 {
		t.Errorf("%+v", b)
	}
}

// The same on a placement's log.
func TestShownLogSmoothing(t *testing.T) {
	s := conversions()
	s.Revenue = true
	req := request(s, s.Best())
	req.Estimators = []estimators.Choice{choice(t, "log_smoothing"), choice(t, "log_smoothing:lambda=0.01")}
	report := evaluated(t, s, req)
	r := get(t, report, "best")
	λ, ok := r.Estimates[0].Parameters["lambda"].(float64)
	if want := 0.01 / report.Log.RewardMax; !ok || math.Abs(λ/want-1) > 1e-12 || !(report.Log.RewardMax > 2) {
		t.Errorf("λ is %v, want .01 by the largest reward %v", λ, report.Log.RewardMax)
	}
	if given := r.Estimates[1].Parameters["lambda"]; given != 0.01 {
		t.Errorf("λ = .01 was given and is %v", given)
	}
	if !(r.Estimates[1].Value < r.Estimates[0].Value && r.Estimates[0].Value < r.IPS.Value) {
		t.Errorf("%v at .01, %v by default, IPS %v", r.Estimates[1].Value, r.Estimates[0].Value, r.IPS.Value)
	}
	if req.Estimators[0].Value != 0.01 {
		t.Error("the caller's request was changed")
	}
}
