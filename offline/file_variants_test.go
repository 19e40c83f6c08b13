package offline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// campaign is a log with the columns that Open Bandit Pipeline's arrays have.
type campaign struct {
	reward, propensity, π []float64 // π of the logged action
	action, position      []int
	pi, q                 [][]float64
	customer              []int
}

// newCampaign draws a log whose logger, candidate and reward model all depend on
// the row.
func newCampaign(rows, actions, positions int, revenue bool, seed uint64) *campaign {
	rng := rand.New(rand.NewPCG(seed, 71))
	draw := func() []float64 {
		p, sum := make([]float64, actions), 0.0
		for a := range p {
			p[a] = 0.2 + rng.ExpFloat64()
			sum += p[a]
		}
		for a := range p {
			p[a] /= sum
		}
		return p
	}
	c := &campaign{}
	for range rows {
		μ, π, q := draw(), draw(), make([]float64, actions)
		for a := range q {
			q[a] = 0.3 * rng.Float64()
		}
		a, u := 0, rng.Float64()
		for a < actions-1 && u >= μ[a] {
			u -= μ[a]
			a++
		}
		r := 0.0
		if rng.Float64() < 0.3*q[a]+0.1 {
			r = 1
			if revenue {
				r = math.Floor(200*rng.ExpFloat64()) - 20 // refunds among them
			}
		}
		c.reward, c.action, c.propensity = append(c.reward, r), append(c.action, a), append(c.propensity, μ[a])
		c.position = append(c.position, rng.IntN(positions))
		c.π, c.pi, c.q = append(c.π, π[a]), append(c.pi, π), append(c.q, q)
		c.customer = append(c.customer, rng.IntN(rows))
	}
	return c
}

// published are the values of the published formulas, written plainly.
func (c *campaign) published() map[string]float64 {
	n := float64(len(c.reward))
	out := map[string]float64{}
	var sw, swr, swe, sq float64
	sums := map[string]func(w float64) float64{
		"clipped_dr:max=2": func(w float64) float64 { return min(w, 2) },
		"switch_dr:tau=1":  func(w float64) float64 { return map[bool]float64{true: w}[w <= 1] },
		"dros:lambda=5":    func(w float64) float64 { return 5 * w / (w*w + 5) }, "subgaussian_dr:lambda=0.1": func(w float64) float64 { return w / (1 - 0.1 + 0.1*w) },
	}
	for i, r := range c.reward {
		w, a := c.π[i]/c.propensity[i], c.action[i]
		qπ := 0.0
		for b, p := range c.pi[i] {
			qπ += p * c.q[i][b]
		}
		sw, swr, swe, sq = sw+w, swr+w*r, swe+w*(r-c.q[i][a]), sq+qπ
		out["clipped_ips:max=2"] += min(w, 2) * r / n
		out["subgaussian_ips:lambda=0.1"] += w / (1 - 0.1 + 0.1*w) * r / n
		for name, shrink := range sums {
			out[name] += (qπ + shrink(w)*(r-c.q[i][a])) / n
		}
	}
	out["ips"], out["snips"], out["dm"], out["dr"], out["sndr"] = swr/n, swr/sw, sq/n, (sq+swe)/n, sq/n+swe/sw
	return out
}

// write stores the campaign as one of many writers might.
func (c *campaign) write(t *testing.T, rng *rand.Rand, kind map[string]arrow.DataType, codec compress.Compression, group int64) string {
	t.Helper()
	columns := map[string]func(i int) any{
		"reward": func(i int) any { return c.reward[i] }, "action": func(i int) any { return c.action[i] }, "pscore": func(i int) any { return c.propensity[i] },
		"position": func(i int) any { return c.position[i] }, "pi_e_action": func(i int) any { return c.π[i] }, "pi_e": func(i int) any { return c.pi[i] },
		"q_hat": func(i int) any { return c.q[i] }, "customer": func(i int) any { return c.customer[i] }, "__index_level_0__": func(i int) any { return 3 * i },
	}
	var fields []arrow.Field
	for name, kind := range kind {
		fields = append(fields, arrow.Field{Name: name, Type: kind, Nullable: rng.IntN(2) == 0})
	}
	slices.SortFunc(fields, func(a, b arrow.Field) int { return map[bool]int{true: 1, false: -1}[a.Name > b.Name] })
	rng.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	schema := arrow.NewSchema(fields, nil)
	path := filepath.Join(t.TempDir(), "log.parquet")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	stored := []pqarrow.WriterOption{}
	if rng.IntN(2) == 0 {
		stored = append(stored, pqarrow.WithStoreSchema())
	}
	props := parquet.NewWriterProperties(parquet.WithMaxRowGroupLength(group), parquet.WithCompression(codec), parquet.WithDictionaryDefault(rng.IntN(2) == 0), parquet.WithDataPageSize(int64(1000+rng.IntN(100000))))
	w, err := pqarrow.NewFileWriter(schema, f, props, pqarrow.NewArrowWriterProperties(stored...))
	if err != nil {
		t.Fatal(err)
	}
	// A record for each row group: the writer cuts lists of fixed size wrongly.
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i := range c.reward {
		for k, f := range fields {
			appendValue(t, b.Field(k), columns[f.Name](i))
		}
		if int64(i+1)%group == 0 || i+1 == len(c.reward) {
			if err := w.Write(b.NewRecordBatch()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Whatever campaign a file holds and however it is stored, every estimator is what
// its published formula says.
func TestFileVariants(t *testing.T) {
	p, text := arrow.PrimitiveTypes, arrow.BinaryTypes.String
	dictionary := func(of arrow.DataType) arrow.DataType {
		return &arrow.DictionaryType{IndexType: p.Int16, ValueType: of}
	}
	whole := []arrow.DataType{p.Int8, p.Int16, p.Int32, p.Int64, p.Uint8, p.Uint16, p.Uint32, p.Uint64, p.Float32, p.Float64, dictionary(p.Int64)}
	codecs := []compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Gzip, compress.Codecs.Zstd, compress.Codecs.Brotli}
	rng := rand.New(rand.NewPCG(7, 7))
	of := func(types ...arrow.DataType) arrow.DataType { return types[rng.IntN(len(types))] }
	for k := range 40 {
		actions, positions := 1+rng.IntN(90), 1+rng.IntN(4)
		c := newCampaign(100+rng.IntN(500), actions, positions, k%4 == 3, uint64(k))
		if k%3 == 1 {
			for i := range c.position {
				c.position[i]++ // from 1
			}
		}
		number, tolerance := of(p.Float64, p.Float64, p.Float32), 1e-12
		if number == p.Float32 {
			tolerance = 2e-6
		}
		reward := of(whole...)
		if k%4 == 3 {
			tolerance *= 1000 // the size of the rewards
			reward = of(p.Int16, p.Int32, p.Int64, p.Float32, p.Float64)
		}
		list := func() arrow.DataType {
			return of(arrow.ListOf(number), arrow.LargeListOf(number), arrow.FixedSizeListOf(int32(actions), number), arrow.ListOfNonNullable(number))
		}
		kind := map[string]arrow.DataType{"reward": reward, "action": of(append(whole, text, arrow.BinaryTypes.LargeString, dictionary(text))...), "pscore": number, "pi_e": list(), "q_hat": list()}
		for name, type_ := range map[string]arrow.DataType{"position": of(whole...), "pi_e_action": number, "customer": of(p.Int16, p.Int64, p.Float64, text, dictionary(text), dictionary(p.Int64)), "__index_level_0__": p.Int64} {
			if (k+len(name))%3 > 0 {
				kind[name] = type_
			}
		}
		codec, group := codecs[k%len(codecs)], int64(10+rng.IntN(400))
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			t.Logf("%d actions, %d positions, %s, groups of %d, %v", actions, positions, codec, group, kind)
			want := c.published()
			var o FileOptions
			for name := range want {
				o.Estimators = append(o.Estimators, name)
			}
			r := evaluateFile(t, c.write(t, rng, kind, codec, group), o)
			for name, v := range want {
				if e, ok := r.Estimate(name); !ok || e.Value == nil || math.Abs(*e.Value-v) > tolerance {
					t.Errorf("%s is %+v, published %v (tolerance %g)", name, e, v, tolerance)
				}
			}
			if r.Rows != int64(len(c.reward)) || kind["customer"] != nil && r.Unit != "customer" {
				t.Errorf("%d rows by %s", r.Rows, r.Unit)
			}
		})
	}
}

// A Parquet file of which a part is missing or has other bytes is read or refused,
// and never ends the program.
func TestFileDamaged(t *testing.T) {
	whole, err := os.ReadFile(writeParquet(t, simulatedLog(300, 8), plain, 100))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 8))
	path := filepath.Join(t.TempDir(), "damaged.parquet")
	refused := 0
	for k := range 300 {
		b := slices.Clone(whole)
		if k%10 == 0 {
			b = b[:rng.IntN(len(b))]
		}
		for range 1 + rng.IntN(4) {
			if n := len(b); n > 0 {
				at := rng.IntN(n)
				if k%2 == 0 {
					at = n - 1 - rng.IntN(min(n, 3000)) // the footer, which says where and how much
				}
				b[at] = byte(rng.Uint32())
			}
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := EvaluateFile(t.Context(), path, FileOptions{}, nil); err != nil {
			refused++
		}
	}
	if refused < 100 {
		t.Errorf("%d of 300 damaged files are refused", refused)
	}
}
