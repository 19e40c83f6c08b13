package bandit

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"nextbest"
)

// testData returns a file of the shared test data, or skips.
func testData(tb testing.TB, name string) string {
	tb.Helper()
	dir := os.Getenv("NEXTBEST_TEST_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		tb.Skipf("%s is not here; set NEXTBEST_TEST_DATA to the folder that holds it", path)
	}
	return path
}

func readCSV(tb testing.TB, path string) [][]string {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		tb.Fatal(err)
	}
	return rows[1:]
}

// classification is a data set run as a bandit: the label is the arm that earns
// 1.
type classification struct {
	x      [][]float32
	label  []int
	arms   []string
	orders [][]int
}

func readClassification(tb testing.TB, set string) classification {
	tb.Helper()
	var c classification
	index := map[string]int{}
	for _, row := range readCSV(tb, testData(tb, "bakeoff/"+set+".csv.gz")) {
		x := make([]float32, len(row)-1)
		for j := range x {
			v, err := strconv.ParseFloat(row[j], 64)
			if err != nil {
				tb.Fatal(err)
			}
			x[j] = float32(v)
		}
		label := row[len(row)-1]
		if _, ok := index[label]; !ok {
			index[label] = len(c.arms)
			c.arms = append(c.arms, label)
		}
		c.x, c.label = append(c.x, x), append(c.label, index[label])
	}
	for i, row := range readCSV(tb, testData(tb, "bakeoff/"+set+".orders.csv.gz")) {
		for seed, v := range row {
			if i == 0 {
				c.orders = append(c.orders, nil)
			}
			n, err := strconv.Atoi(v)
			if err != nil {
				tb.Fatal(err)
			}
			c.orders[seed] = append(c.orders[seed], n)
		}
	}
	return c
}

// progressiveReward plays one order, learning after each row, and returns the
// mean reward.
func (c *classification) progressiveReward(tb testing.TB, spec Spec, seed int) float64 {
	tb.Helper()
	learner, err := NewLearner(spec, len(c.x[0]))
	if err != nil {
		tb.Fatal(err)
	}
	policy, err := learner.Live()
	if err != nil {
		tb.Fatal(err)
	}
	k := len(c.arms)
	p, scores, arms := make([]float64, k), make([]float64, k), make([]int32, k)
	var total float64
	salt := "bakeoff-" + strconv.Itoa(seed)
	for t, row := range c.orders[seed] {
		for a, id := range c.arms {
			arms[a] = policy.Arm(id)
		}
		if err := policy.Distribution(p, scores, &Request{X: c.x[row], Arms: arms}); err != nil {
			tb.Fatal(err)
		}
		a := Draw(p, nextbest.Uniform(salt, strconv.Itoa(t)))
		reward := 0.0
		if a == c.label[row] {
			reward = 1
		}
		total += reward
		if err := learner.Learn(c.arms[a], c.x[row], reward); err != nil {
			tb.Fatal(err)
		}
	}
	return total / float64(len(c.orders[seed]))
}

// TestBakeoff plays classification sets as bandits with the default
// configuration. The bounds are below what it reaches, and above what a fixed
// scale of exploration does (numpy LinUCB with α = .25: .784 and .953).
func TestBakeoff(t *testing.T) {
	sets := map[string]classification{"digits": readClassification(t, "digits"), "mc_easy": readClassification(t, "mc_easy")}
	for _, c := range []struct {
		set, algorithm string
		atLeast        float64
	}{
		{"digits", "linucb", 0.83},
		{"digits", "linear_thompson", 0.82},
		{"mc_easy", "linucb", 0.95},
		{"mc_easy", "linear_thompson", 0.95},
	} {
		spec, err := ParseSpec([]byte(`{"algorithm":"` + c.algorithm + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		set := sets[c.set]
		seeds := len(set.orders)
		if testing.Short() {
			seeds = 2
		}
		var sum float64
		for seed := range seeds {
			sum += set.progressiveReward(t, spec, seed)
		}
		got := sum / float64(seeds)
		t.Logf("%s, %s: mean progressive reward %.4f over %d orders", c.set, c.algorithm, got, seeds)
		if got < c.atLeast {
			t.Errorf("%s, %s: mean progressive reward %.4f, want at least %g", c.set, c.algorithm, got, c.atLeast)
		}
	}
}
