package offline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"nextbest"
)

// oddBatch draws a batch with the values that codecs get wrong.
func oddBatch(rng *rand.Rand, actions []string) *nextbest.Batch {
	n, width := 1+rng.IntN(300), rng.IntN(4)
	names := func() string {
		return []string{"", "a@1", "bb@22", "ünïcode\x00@3", fmt.Sprint(rng.Uint32())}[rng.IntN(5)]
	}
	number := func() float64 {
		return []float64{0, math.Copysign(0, -1), 1, 0.01, math.Inf(-1), math.SmallestNonzeroFloat64, math.MaxFloat64,
			math.NaN(), math.Float64frombits(0x7ff8dead00000001), rng.Float64()}[rng.IntN(10)]
	}
	b := &nextbest.Batch{Actions: actions, Width: width, Offsets: []int{0}}
	few := rng.IntN(2) == 0 // probabilities of few values
	for range n {
		var id uuid.UUID
		for k := range id {
			id[k] = byte(rng.Uint32())
		}
		b.Decision = append(b.Decision, id)
		b.Time = append(b.Time, int64(rng.Uint64()))
		who := ""
		if len(b.Customer) > 0 && rng.IntN(2) == 0 {
			who = b.Customer[len(b.Customer)-1]
		} else if rng.IntN(20) > 0 {
			who = fmt.Sprintf("c%d", rng.Uint64())
		}
		b.Customer = append(b.Customer, who)
		for range rng.IntN(3) * rng.IntN(9) {
			b.Eligible = append(b.Eligible, uint32(rng.IntN(len(actions))))
			p := number()
			if few {
				p = float64(rng.IntN(mostValues)) / mostValues
			}
			b.Probabilities = append(b.Probabilities, p)
		}
		b.Offsets = append(b.Offsets, len(b.Eligible))
		b.Chosen = append(b.Chosen, rng.IntN(9)-1)
		b.Propensity, b.Floor, b.Reward = append(b.Propensity, number()), append(b.Floor, 0.01), append(b.Reward, number())
		for range width {
			b.X = append(b.X, math.Float32frombits(rng.Uint32()))
		}
		b.Policies, b.Arm = append(b.Policies, names()), append(b.Arm, names())
		b.Matched = append(b.Matched, rng.IntN(2) == 0)
	}
	if rng.IntN(2) == 0 {
		for range n {
			b.Features, b.Experiment = append(b.Features, names()), append(b.Experiment, names())
			b.Contexts = append(b.Contexts, []byte(strings.Repeat("{}", rng.IntN(3))))
		}
	}
	return b
}

// sameBatch compares bit for bit; a column that is nil equals one without rows.
func sameBatch(t *testing.T, got, want *nextbest.Batch) {
	t.Helper()
	g, w := reflect.ValueOf(*got), reflect.ValueOf(*want)
	for i := range g.NumField() {
		name := g.Type().Field(i).Name
		a, b := g.Field(i).Interface(), w.Field(i).Interface()
		switch b := b.(type) {
		case []float64:
			if !slices.EqualFunc(a.([]float64), b, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) }) {
				t.Errorf("%s: %v, want %v", name, a, b)
			}
		case []float32:
			if !slices.EqualFunc(a.([]float32), b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }) {
				t.Errorf("%s differs", name)
			}
		case [][]byte:
			if !slices.EqualFunc(a.([][]byte), b, func(x, y []byte) bool { return string(x) == string(y) }) {
				t.Errorf("%s: %q, want %q", name, a, b)
			}
		default:
			if v := g.Field(i); v.Kind() == reflect.Slice && v.Len() == 0 && w.Field(i).Len() == 0 {
				continue
			}
			if !reflect.DeepEqual(a, b) {
				t.Errorf("%s: %v, want %v", name, a, b)
			}
		}
	}
}

// What is replayed is what was appended, bit for bit and as often as it is asked
// for, whether it lies in memory, in the file or in both.
func TestSpoolReplays(t *testing.T) {
	for name, o := range map[string]Spool{"memory": {}, "file": {Memory: -1}, "both": {Memory: 100_000}} {
		t.Run(name, func(t *testing.T) {
			o.Dir = t.TempDir()
			o.Lost = func(err error) { t.Error(err) }
			rng := rand.New(rand.NewPCG(3, 1))
			actions := []string{"do-nothing"}
			s := newSpool(o)
			defer s.clear()
			s.begin(true)
			var want []*nextbest.Batch
			for range 60 {
				actions = append(actions, fmt.Sprintf("offer-%d", len(actions)))
				b := oddBatch(rng, slices.Clone(actions))
				want = append(want, b)
				s.append(b)
			}
			if s.holds(false) {
				t.Error("an unfinished spool says that it holds every row")
			}
			s.end()
			if inFile := s.file != nil; inFile != (name != "memory") || s.memory > max(s.options.Memory, 0) || (s.memory > 0) != (name != "file") {
				t.Errorf("file %v, %d bytes in memory", inFile, s.memory)
			}
			if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
				t.Errorf("the folder shows %v, %v", left, err)
			}
			if s.file != nil {
				if i, err := s.file.Stat(); err != nil || i.Mode().Perm() != 0o600 {
					t.Errorf("mode %v, %v", i.Mode(), err)
				}
			}
			for _, contexts := range []bool{true, false, true} {
				k := 0
				err := s.replay(t.Context(), contexts, func(b *nextbest.Batch) error {
					w := *want[k]
					if !contexts {
						w.Contexts = nil
					}
					sameBatch(t, b, &w)
					k++
					return nil
				})
				if err != nil || k != len(want) {
					t.Fatalf("%d of %d batches: %v", k, len(want), err)
				}
			}
			stop := errors.New("stop")
			if err := s.replay(t.Context(), true, func(*nextbest.Batch) error { return stop }); err != stop {
				t.Errorf("error %v, want that of the function", err)
			}
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if err := s.replay(ended, true, func(*nextbest.Batch) error { return nil }); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v after the end of the context", err)
			}
		})
	}
}

// counted counts how often the log is read, and with contexts.
type counted struct {
	Reader
	reads, contexts int
}

func (c *counted) Rows(ctx context.Context, q nextbest.Query, f func(*nextbest.Batch) error) error {
	c.reads++
	if q.Contexts {
		c.contexts++
	}
	return c.Reader.Rows(ctx, q, f)
}

// wanting needs contexts where features are not of one schema.
type wanting struct{ SimulatedPolicy }

func (wanting) ContextFree([]string) bool { return false }

// The log is read once where rows can be kept, twice where they cannot, and the
// report is the same bit for bit.
func TestRunReadsTheLogOnce(t *testing.T) {
	s := conversions()
	missing := filepath.Join(t.TempDir(), "missing")
	var want string
	for _, c := range []struct {
		name            string
		spool           Spool
		segments        []string
		wants, blind    bool
		reads, contexts int
		lost            string
	}{
		{name: "memory", reads: 1},
		{name: "file", spool: Spool{Memory: -1}, reads: 1},
		{name: "folder missing", spool: Spool{Memory: 200_000, Dir: missing}, reads: 2, lost: missing},
		{name: "no room", spool: Spool{Memory: -1, Disk: 1 << 20}, reads: 2, lost: "more than the 1 MiB"},
		{name: "nothing kept", spool: Spool{Memory: -1, Disk: -1}, reads: 2, lost: "more than the 0 MiB"},
		{name: "contexts wanted later", wants: true, reads: 2, contexts: 1},
		{name: "contexts wanted always", blind: true, reads: 1, contexts: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var lost []error
			if c.spool.Dir == "" {
				c.spool.Dir = t.TempDir()
			}
			c.spool.Lost = func(err error) { lost = append(lost, err) }
			reader := &counted{Reader: s}
			req := request(s, s.Best())
			switch {
			case c.wants:
				req = request(s, wanting{s.Best()})
			case c.blind:
				req = request(s, unforked{s.Best()})
			}
			req.Spool = c.spool
			report := evaluated(t, reader, req)
			b, err := json.Marshal(report)
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				want = string(b)
			} else if string(b) != want {
				t.Error("another report")
			}
			if reader.reads != c.reads || reader.contexts != c.contexts {
				t.Errorf("%d reads, %d with contexts; want %d and %d", reader.reads, reader.contexts, c.reads, c.contexts)
			}
			switch {
			case c.lost == "" && len(lost) > 0, c.lost != "" && (len(lost) != 1 || !strings.Contains(lost[0].Error(), c.lost)):
				t.Errorf("told %v, want one error with %q", lost, c.lost)
			}
		})
	}
}
