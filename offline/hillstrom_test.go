package offline

import (
	"cmp"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/uuid"

	"nextbest"
)

// hillstrom is the MineThatData e-mail challenge (Hillstrom 2008) as a log:
// three actions, each with probability 1/3.
type hillstrom struct{ batch *nextbest.Batch }

func (h hillstrom) Rows(_ context.Context, _ nextbest.Query, f func(*nextbest.Batch) error) error {
	return f(h.batch)
}

// openData opens a file of the shared test data, or skips.
func openData(tb testing.TB, name string) *os.File {
	tb.Helper()
	root := os.Getenv("NEXTBEST_TEST_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "shared", "data")
	}
	file, err := os.Open(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		tb.Skipf("no test data (set NEXTBEST_TEST_DATA): %v", err)
	}
	return file
}

func readHillstrom(t *testing.T, reward string) hillstrom {
	t.Helper()
	file := openData(t, "hillstrom.csv.gz")
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	rows = rows[1:]
	b := &nextbest.Batch{Actions: []string{"mens-email", "womens-email", nextbest.DoNothing}, Offsets: []int{0}, Width: 4}
	number := func(row []string, name string) float64 {
		v, err := strconv.ParseFloat(row[column[name]], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for i, row := range rows {
		var id uuid.UUID
		binary.BigEndian.PutUint64(id[8:], uint64(i))
		b.Decision = append(b.Decision, id)
		b.Time = append(b.Time, 0)
		b.Customer = append(b.Customer, "h"+strconv.Itoa(100000+i))
		b.Eligible = append(b.Eligible, 0, 1, 2)
		b.Probabilities = append(b.Probabilities, 1./3, 1./3, 1./3)
		b.Offsets = append(b.Offsets, 3*(i+1))
		b.Chosen = append(b.Chosen, slices.Index([]string{"Mens E-Mail", "Womens E-Mail", "No E-Mail"}, row[column["segment"]]))
		b.Propensity = append(b.Propensity, 1./3)
		b.Floor = append(b.Floor, 1./3)
		b.Policies = append(b.Policies, "random@1")
		b.X = append(b.X, float32((number(row, "recency")-5.8)/3.5), float32(number(row, "mens")), float32(number(row, "womens")), float32(number(row, "newbie")))
		b.Reward = append(b.Reward, number(row, reward))
		b.Matched = append(b.Matched, number(row, reward) > 0)
	}
	return hillstrom{b}
}

// byGender mails what was bought before: men's goods to those who bought
// men's, women's to the others.
type byGender struct{}

func (byGender) Name() string { return "by-gender" }

func (byGender) Distribution(p []float64, b *nextbest.Batch, row int) error {
	clear(p)
	if b.X[row*b.Width+1] > 0 {
		p[0] = 1
	} else {
		p[1] = 1
	}
	return nil
}

// On 64,000 real customers: the published means, each arm's own mean as SNIPS,
// men's e-mail as the best fixed action, and no lift found where none is known.
func TestHillstrom(t *testing.T) {
	for reward, mean := range map[string]float64{"visit": 0.14678, "conversion": 0.00903, "spend": 1.05091} {
		h := readHillstrom(t, reward)
		req := Request{Query: nextbest.Query{Placement: "email", Objective: nextbest.Objective{Terms: []nextbest.Term{{Reward: reward, Weight: 1}}}},
			Candidates: []Candidate{byGender{}}, Seed: 1}
		report := evaluated(t, h, req)
		if math.Abs(report.Log.MeanReward-mean) > 0.000005 {
			t.Errorf("%s: mean %.6f, published %.5f", reward, report.Log.MeanReward, mean)
		}
		var idle, n float64
		for i, c := range h.batch.Chosen {
			if c == 2 {
				idle += h.batch.Reward[i]
				n++
			}
		}
		x := get(t, report, nextbest.DoNothing)
		if d := x.SNIPS.Value - idle/n; math.Abs(d) > 1e-12 {
			t.Errorf("%s: SNIPS of do-nothing %.15g, mean of the untreated %.15g", reward, x.SNIPS.Value, idle/n)
		}
		if reward != "visit" {
			continue
		}
		if slices.MinFunc(report.BestFixed[1:], cmp.Compare[string]) != "mens-email" || slices.Max(report.BestFixed[1:]) != "mens-email" {
			t.Errorf("best fixed %v", report.BestFixed)
		}
		if x.VsLogged.High >= 0 || get(t, report, "by-gender").Refused() {
			t.Errorf("do-nothing against the log %+v", *x.VsLogged)
		}
	}
}
