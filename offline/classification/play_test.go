package classification

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"nextbest"
	"nextbest/bandit"
)

// TestBakeoff plays classification sets as bandits with the default
// configuration. The bounds are two to three standard errors below what it
// reaches on digits, where one order's standard deviation is .02, and above what
// a fixed scale of exploration does (numpy LinUCB with α = .25: .784).
func TestBakeoff(t *testing.T) {
	for _, c := range []struct {
		set, algorithm string
		atLeast        float64
	}{
		{"digits", "linucb", 0.80},
		{"digits", "linear_thompson", 0.79},
		{"mc_easy", "linucb", 0.95},
		{"mc_easy", "linear_thompson", 0.95},
	} {
		set := openSet(t, c.set)
		const seeds = 5
		var sum float64
		for seed := range seeds {
			order := openOrder(t, c.set, seed, set.Rows())
			sum += mustPlay(t, set, `{"algorithm":"`+c.algorithm+`"}`, order, uint64(seed)).Mean
		}
		got := sum / float64(seeds)
		t.Logf("%s, %s: mean progressive reward %.4f over %d orders", c.set, c.algorithm, got, seeds)
		if got < c.atLeast {
			t.Errorf("%s, %s: mean progressive reward %.4f, want at least %g", c.set, c.algorithm, got, c.atLeast)
		}
	}
}

func openSet(tb testing.TB, name string) *Set {
	tb.Helper()
	f := openData(tb, "bakeoff/"+name+".csv.gz")
	defer f.Close()
	c, err := Read(f, "")
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func openOrder(tb testing.TB, name string, seed, n int) []int {
	tb.Helper()
	f := openData(tb, "bakeoff/"+name+".orders.csv.gz")
	defer f.Close()
	order, err := ReadOrder(f, fmt.Sprintf("seed%d", seed), n)
	if err != nil {
		tb.Fatal(err)
	}
	return order
}

func mustPlay(tb testing.TB, c *Set, document string, order []int, seed uint64) Play {
	tb.Helper()
	spec, err := bandit.ParseSpec([]byte(document))
	if err != nil {
		tb.Fatal(err)
	}
	p, err := c.Play(spec, order, seed, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func mustClassification(tb testing.TB, document string) *Set {
	tb.Helper()
	c, err := Read(strings.NewReader(document), "")
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// labelled returns a data set of three classes in the plane; numbers are scaled
// and shifted, beside a column of levels that says nothing.
func labelled(n int, scale, shift float64) string {
	rng := rand.New(rand.NewPCG(4, 4))
	var b strings.Builder
	b.WriteString("u,v,city,y\n")
	for range n {
		class := rng.IntN(3)
		u, v := rng.NormFloat64()+3*[]float64{0, 1, 0}[class], rng.NormFloat64()+3*[]float64{0, 0, 1}[class]
		fmt.Fprintf(&b, "%.9g,%.9g,%s,%s\n", shift+scale*u, v, []string{"Bern", "Rome", ""}[rng.IntN(3)], []string{"red", "green", "blue"}[class])
	}
	return b.String()
}

// TestPlayDoesNotDependOnUnits plays the same numbers in two units.
func TestPlayDoesNotDependOnUnits(t *testing.T) {
	plain, scaled := mustClassification(t, labelled(2000, 1, 0)), mustClassification(t, labelled(2000, 1e4, 2e5))
	spec := `{"algorithm":"linucb"}`
	got, want := mustPlay(t, scaled, spec, scaled.Shuffled(1), 1), mustPlay(t, plain, spec, plain.Shuffled(1), 1)
	if d := got.Mean - want.Mean; d > 0.005 || d < -0.005 {
		t.Errorf("mean reward %.4f in one unit and %.4f in another", want.Mean, got.Mean)
	}
	if want.Mean < 0.8 {
		t.Errorf("mean reward %.4f; the classes lie three standard deviations apart", want.Mean)
	}
}

// TestPlayKnowsNoFutureRow cuts rows off: what came before stays as it was.
func TestPlayKnowsNoFutureRow(t *testing.T) {
	c := mustClassification(t, labelled(600, 50, 7))
	order := c.Shuffled(3)
	for _, spec := range []string{`{"algorithm":"linucb"}`, `{"algorithm":"linear_thompson"}`, `{"algorithm":"uniform"}`} {
		var reward float64
		for _, n := range []int{100, 300, 600} {
			p := mustPlay(t, c, spec, order[:n], 3)
			if p.Reward < reward || p.Rows != n {
				t.Errorf("%s: reward %g after %d rows, and %g before", spec, p.Reward, n, reward)
			}
			reward = p.Reward
		}
		// Other rows behind the first 300 change nothing of the first 300.
		other := slices.Clone(order)
		slices.Reverse(other[300:])
		first := func(o []int) float64 { return mustPlay(t, c, spec, o[:300], 3).Reward }
		if first(order) != first(other) {
			t.Errorf("%s: rows that are still to come change the reward", spec)
		}
	}
}

// TestEncodingUsesPastRows compares an encoded row with its definition.
func TestEncodingUsesPastRows(t *testing.T) {
	c := mustClassification(t, "size,flag,colour,same,y\n10,0,red,5,a\n30,1,blue,5,b\n,1,?,5,a\n1000000,0,red,5,b\n")
	if want := []string{bandit.Bias, "size", "size:missing", "flag", "colour=red", "colour=blue", "colour:missing"}; !slices.Equal(c.Features, want) {
		t.Fatalf("features %v, want %v", c.Features, want)
	}
	e := newEncoder(c, bandit.Spec{Algorithm: "linucb"})
	for _, s := range []struct {
		name string
		past []int
		row  int
		want []float32
	}{
		{"nothing known", nil, 1, []float32{1, 0, 0, 1, 0, 1, 0}},
		{"of two rows", []int{0, 1}, 1, []float32{1, 1, 0, 1, 0, 1, 0}},
		{"a gap", []int{0, 1}, 2, []float32{1, 0, 1, 1, 0, 0, 1}},
		{"cut", []int{0, 1, 2}, 3, []float32{1, maxDeviation, 0, 0, 1, 0, 0}},
	} {
		e.moments(s.past)
		if got := e.encode(s.row); !slices.Equal(got, s.want) {
			t.Errorf("%s: %v, want %v", s.name, got, s.want)
		}
	}
}

// TestPlayIsBounded plays sets at the edge of what can be learned.
func TestPlayIsBounded(t *testing.T) {
	for name, document := range map[string]string{
		"two rows":         "x,y\n1,a\n2,b\n",
		"all missing":      "x,y\n,a\n,b\n",
		"constant":         "x,y\n3,a\n3,b\n3,a\n",
		"empty beside NA":  "x,y\n,a\nNA,b\n",
		"huge and tiny":    "x,z,y\n1e29,1e-29,a\n-1e29,2e-29,b\n1e29,3e-29,a\n1,1,b\n2,2,a\n",
		"equal but one":    "x,y\n1,a\n1,a\n1,a\n1,a\n1,b\n1,a\n1,a\n1,a\n1e9,b\n",
		"quoted with line": "x,y\n\"a\nb\",a\nc,b\n",
	} {
		c := mustClassification(t, document)
		for _, algorithm := range []string{"linucb", "linear_thompson", "epsilon_greedy", "uniform"} {
			p := mustPlay(t, c, `{"algorithm":"`+algorithm+`"}`, c.Shuffled(1), 1)
			if p.Rows != c.Rows() || p.Mean < 0 || p.Mean > 1 {
				t.Errorf("%s, %s: %+v", name, algorithm, p)
			}
		}
	}
}

func TestLabelsAreArms(t *testing.T) {
	for _, c := range []struct{ document, want string }{
		{"x,y\n1,10\n2,9\n3,2\n", "2 9 10"},
		{"x,y\n1,10\n2,9\n3,b\n", "10 9 b"},
		{"y,x\nup,1\ndown,2\n", "down up"},           // named y, and not the last
		{"x,class\n1, yes \n2,no\n", "no yes"},       // the last
		{"\ufeffx,y\n1,yes\n2,no\n", "no yes"},       // a byte order mark
		{"x,y\r\n1,yes\r\n\r\n2,no\r\n", "no yes"},   // an empty line is none
		{"\"x\",\"y\"\n\"1\",\"a,b\"\n2,c", "a,b c"}, // quotes
	} {
		if got := strings.Join(mustClassification(t, c.document).Arms, " "); got != c.want {
			t.Errorf("%q: arms %q, want %q", c.document, got, c.want)
		}
	}
}

// TestClassificationLabel: y stands for the last column where none is called so.
func TestClassificationLabel(t *testing.T) {
	for _, c := range []struct{ header, label, want string }{
		{"y,b,c", "", "y"}, {"y,b,c", "y", "y"}, {"a,b,c", "", "c"}, {"a,b,c", "y", "c"}, {"a,b,c", "b", "b"},
	} {
		got, err := Read(strings.NewReader(c.header+"\n1,2,3\n4,5,6\n"), c.label)
		if err != nil || got.Name != c.want {
			t.Errorf("%s, label %q: %+v, %v", c.header, c.label, got, err)
		}
	}
}

func TestClassificationRefusesBadInput(t *testing.T) {
	many := func(n int, cell func(i int) string) string {
		var b strings.Builder
		b.WriteString("x,y\n")
		for i := range n {
			b.WriteString(cell(i))
		}
		return b.String()
	}
	for _, c := range []struct{ name, document, label, want string }{
		{"empty", "", "", "no rows"},
		{"header alone", "x,y\n", "", "no rows"},
		{"one column", "y\na\nb\n", "", "one column"},
		{"no such label", "x,y\n1,a\n2,b\n", "z", `there is no column "z"; the columns are x, y`},
		{"missing label", "x,y\n1,a\n2,\n", "", `line 3: column "y" is missing`},
		{"missing label behind a quoted line", "x,y\n\"1\n2\",a\n2,NaN\n", "", "line 4"},
		{"one class", "x,y\n1,a\n2,a\n", "", `only one value, "a"`},
		{"ragged", "x,z,y\n1,2,a\n3,b\n", "", "line 3 has 2 cells, and the header names 3 columns"},
		{"not CSV", "x,y\n1,a\n\"2,b\n", "", "line 3 is not CSV"},
		{"NaN", "x,y\n1,a\n2,b\nNaN,a\n", "", "line 4: NaN is no feature"},
		{"infinite", "x,y\n1,a\n-Inf,b\n", "", "line 3: -Inf is no feature"},
		{"too large", "x,y\n1,a\n1e999,b\n", "", "line 3: 1e999 is no feature"},
		{"a word among numbers", many(40, func(i int) string {
			return fmt.Sprintf("%s,%d\n", map[bool]string{true: "foo"}[i == 17]+strconv.Itoa(i), i%2)
		}), "", `line 19: "foo17" stands among 39 numbers`},
		{"repeated column", "x,x,y\n1,1,a\n2,2,b\n", "", `names "x" twice`},
		{"cut gzip", string(gzipped("x,y\n1,a\n2,b\n")[:25]), "", "ends badly"},
		{"levels", many(1001, func(i int) string { return fmt.Sprintf("u%d,%d\n", i, i%2) }), "", "x: has more than 1000 levels that are not numbers (line 1002"},
		{"classes", many(1001, func(i int) string { return fmt.Sprintf("%d,%d\n", i, i) }), "", "takes 1001 values"},
	} {
		_, err := Read(strings.NewReader(c.document), c.label)
		if err == nil || !strings.Contains(err.Error(), c.want) || nextbest.CodeOf(err) != nextbest.Invalid {
			t.Errorf("%s: error %v, want one that is invalid and says %q", c.name, err, c.want)
		}
	}
	for _, c := range []struct{ document, want string }{
		{"a,b\n0,1\n1,0\n", `there is no column "seed0"; the columns are a, b`},
		{"seed0\n0\n", "has 1 rows, and the data set 2"},
		{"seed0\n0\n2\n", `line 3: "2" is not a row; rows are numbered from 0 to 1`},
		{"seed0\n1\n1\n", "line 3: row 1 is named twice"},
	} {
		if _, err := ReadOrder(strings.NewReader(c.document), "seed0", 2); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("order %q: error %v, want %q", c.document, err, c.want)
		}
	}
	wide := mustClassification(t, many(4200, func(i int) string { return fmt.Sprintf("u%d,%d\n", i%900, i%900) }))
	spec, err := bandit.ParseSpec([]byte(`{"algorithm":"linucb"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wide.Play(spec, wide.Shuffled(1), 1, nil); nextbest.CodeOf(err) != nextbest.Invalid || !strings.Contains(err.Error(), "900 arms with 901 features") {
		t.Errorf("900 arms with 901 features: %v", err)
	}
}

func gzipped(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s) // into memory
	_ = z.Close()
	return b.Bytes()
}

// openData opens a file of the test data, or skips where there is none.
func openData(tb testing.TB, name string) *os.File {
	tb.Helper()
	root := os.Getenv("NEXTBEST_TEST_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "data")
	}
	file, err := os.Open(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		tb.Skipf("no test data (set NEXTBEST_TEST_DATA): %v", err)
	}
	return file
}
