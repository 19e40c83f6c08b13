package offline

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// logRow is one row of a test's log file.
type logRow struct {
	reward, propensity float64
	action             int
	customer           string
	π, q               []float64
}

// simulatedLog draws rows of customers with several rows each, logged by a
// policy that prefers action 0, for a candidate that prefers action 1.
func simulatedLog(n int, seed uint64) []logRow {
	r := rand.New(rand.NewPCG(seed, 1))
	rows := make([]logRow, n)
	for i := range rows {
		μ := []float64{0.5, 0.3, 0.2}
		a, u := 0, r.Float64()
		for u >= μ[a] {
			u -= μ[a]
			a++
		}
		y := 0.0
		if r.Float64() < []float64{0.1, 0.3, 0.2}[a] {
			y = 1
		}
		rows[i] = logRow{reward: y, propensity: μ[a], action: a, customer: fmt.Sprintf("c%03d", r.IntN(n/3+1)),
			π: []float64{0.25, 0.5, 0.25}, q: []float64{0.125, 0.25, 0.25}}
	}
	return rows
}

// storage says how a test's file stores its columns.
type storage struct {
	reward, action, number arrow.DataType
	list                   func(arrow.DataType) arrow.DataType
}

var plain = storage{arrow.PrimitiveTypes.Float64, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float64,
	func(t arrow.DataType) arrow.DataType { return arrow.ListOf(t) }}

// writeParquet writes rows in groups of group.
func writeParquet(t *testing.T, rows []logRow, s storage, group int64) string {
	t.Helper()
	fields := []arrow.Field{{Name: "reward", Type: s.reward, Nullable: true}, {Name: "action", Type: s.action, Nullable: true}, {Name: "propensity", Type: s.number, Nullable: true},
		{Name: "customer", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "evaluation_probabilities", Type: s.list(s.number), Nullable: true}, {Name: "predicted_rewards", Type: s.list(s.number), Nullable: true}}
	schema := arrow.NewSchema(fields, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for _, r := range rows {
		for k, v := range []any{r.reward, r.action, r.propensity, r.customer, r.π, r.q} {
			appendValue(t, b.Field(k), v)
		}
	}
	path := filepath.Join(t.TempDir(), "log.parquet")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(schema, f, parquet.NewWriterProperties(parquet.WithMaxRowGroupLength(group)), pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteBuffered(b.NewRecordBatch()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// appendValue appends through text, which every builder takes.
func appendValue(t *testing.T, b array.Builder, v any) {
	t.Helper()
	if x, ok := v.(float64); ok && x != x {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.ListBuilder:
		b.Append(true)
		appendAll(t, b.ValueBuilder(), v.([]float64))
		return
	case *array.LargeListBuilder:
		b.Append(true)
		appendAll(t, b.ValueBuilder(), v.([]float64))
		return
	case *array.FixedSizeListBuilder:
		b.Append(true)
		appendAll(t, b.ValueBuilder(), v.([]float64))
		return
	case *array.BooleanBuilder:
		b.Append(v.(float64) == 1)
		return
	}
	if err := b.AppendValueFromString(fmt.Sprint(v)); err != nil {
		t.Fatal(err)
	}
}

func appendAll(t *testing.T, b array.Builder, vs []float64) {
	for _, v := range vs {
		appendValue(t, b, v)
	}
}

func evaluateFile(t *testing.T, path string, o FileOptions) *FileReport {
	t.Helper()
	r, err := EvaluateFile(context.Background(), path, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Fatalf("the report is no JSON: %v", err)
	}
	return r
}

// sameEstimates compares values and interval ends.
func sameEstimates(t *testing.T, what string, got, want *FileReport, tolerance float64) {
	t.Helper()
	if len(got.Estimates) != len(want.Estimates) {
		t.Fatalf("%s: %d estimates, want %d", what, len(got.Estimates), len(want.Estimates))
	}
	for i, w := range want.Estimates {
		g := got.Estimates[i]
		for k, pair := range [][2]*float64{{g.Value, w.Value}, {g.StdErr, w.StdErr}, {g.Low, w.Low}, {g.High, w.High}} {
			if (pair[0] == nil) != (pair[1] == nil) || pair[0] != nil && math.Abs(*pair[0]-*pair[1]) > tolerance {
				t.Errorf("%s: %s differs in number %d: %v, want %v", what, w.Estimator, k, show(pair[0]), show(pair[1]))
			}
		}
	}
}

func show(v *float64) string {
	if v == nil {
		return "none"
	}
	return strconv.FormatFloat(*v, 'g', -1, 64)
}

// However columns are stored, the report is the same.
func TestFileStorage(t *testing.T) {
	rows := simulatedLog(3000, 1)
	want := evaluateFile(t, writeParquet(t, rows, plain, 1<<20), FileOptions{Floor: 0.2})
	if v := *want.Estimates[0].Value; math.Abs(v-0.225) > 0.05 { // .25·.1 + .5·.3 + .25·.2
		t.Errorf("IPS = %v, truth 0.225", v)
	}
	p := arrow.PrimitiveTypes
	for name, c := range map[string]struct {
		storage
		tolerance float64
	}{
		"int32":      {storage{p.Int32, p.Int32, p.Float64, plain.list}, 1e-12},
		"uint8":      {storage{p.Uint8, p.Uint8, p.Float64, plain.list}, 1e-12},
		"float":      {storage{p.Float32, p.Float64, p.Float32, plain.list}, 1e-6},
		"bool":       {storage{arrow.FixedWidthTypes.Boolean, p.Int16, p.Float64, plain.list}, 1e-12},
		"decimal":    {storage{&arrow.Decimal128Type{Precision: 9, Scale: 2}, p.Uint64, p.Float64, plain.list}, 1e-12},
		"dictionary": {storage{p.Int64, &arrow.DictionaryType{IndexType: p.Int8, ValueType: arrow.BinaryTypes.String}, p.Float64, plain.list}, 1e-12},
		"text":       {storage{p.Int64, arrow.BinaryTypes.LargeString, p.Float64, plain.list}, 1e-12},
		"large list": {storage{p.Int64, p.Int64, p.Float64, func(t arrow.DataType) arrow.DataType { return arrow.LargeListOf(t) }}, 1e-12},
		"fixed list": {storage{p.Int64, p.Int64, p.Float64, func(t arrow.DataType) arrow.DataType { return arrow.FixedSizeListOf(3, t) }}, 1e-12},
	} {
		t.Run(name, func(t *testing.T) {
			sameEstimates(t, name, evaluateFile(t, writeParquet(t, rows, c.storage, 700), FileOptions{Floor: 0.2}), want, c.tolerance)
		})
	}
}

// Customers in order, out of order, and in several readings of the file.
func TestFileCustomers(t *testing.T) {
	rows := simulatedLog(3000, 2)
	want := evaluateFile(t, writeParquet(t, rows, plain, 1000), FileOptions{Floor: 0.2})
	if want.Unit != "customer" || want.Customers < 500 || want.Customers > 1001 {
		t.Fatalf("unit %s, %d customers", want.Unit, want.Customers)
	}
	sorted := append([]logRow{}, rows...)
	sortRows(sorted)
	path := writeParquet(t, sorted, plain, 1000)
	got := evaluateFile(t, path, FileOptions{Floor: 0.2})
	sameEstimates(t, "sorted", got, want, 1e-9)
	if got.Customers != want.Customers {
		t.Errorf("%d customers sorted, %d unsorted", got.Customers, want.Customers)
	}

	// By hand: the variance of IPS by customer.
	sums, n := map[string]float64{}, map[string]float64{}
	total := 0.0
	for _, r := range rows {
		x := r.π[r.action] / r.propensity * r.reward
		sums[r.customer] += x
		n[r.customer]++
		total += x
	}
	v, ss := total/3000, 0.0
	for c, x := range sums {
		ss += (x - v*n[c]) * (x - v*n[c])
	}
	m := float64(len(sums))
	if se := math.Sqrt(ss*m/(m-1)) / 3000; math.Abs(se-*want.Estimates[0].StdErr) > 1e-12 {
		t.Errorf("standard error %v by hand, %v", se, *want.Estimates[0].StdErr)
	}
}

func sortRows(rows []logRow) {
	for i := 1; i < len(rows); i++ {
		for k := i; k > 0 && rows[k].customer < rows[k-1].customer; k-- {
			rows[k], rows[k-1] = rows[k-1], rows[k]
		}
	}
}

// A CSV file says the same as the Parquet file.
func TestFileCSV(t *testing.T) {
	rows := simulatedLog(500, 3)
	want := evaluateFile(t, writeParquet(t, rows, plain, 1000), FileOptions{})
	path := filepath.Join(t.TempDir(), "log.csv.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	fmt.Fprintln(z, "reward,action,pscore,customer,pi_e,q_hat")
	for _, r := range rows {
		π, _ := json.Marshal(r.π)
		q, _ := json.Marshal(r.q)
		fmt.Fprintf(z, "%v,%d,%v,%s,%q,%q\n", r.reward, r.action, r.propensity, r.customer, π, q)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	sameEstimates(t, "CSV", evaluateFile(t, path, FileOptions{}), want, 1e-15)
}

// What cannot be used is refused whole, with the rows.
func TestFileRefusesRows(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		spoil func(rows []logRow)
		o     FileOptions
		want  []string
	}{
		"zero propensity":    {func(r []logRow) { r[7].propensity = 0 }, FileOptions{}, []string{"propensity", "row 8 (0)", "1 of 50 rows"}},
		"negative":           {func(r []logRow) { r[7].propensity = -0.5 }, FileOptions{}, []string{"row 8 (-0.5)"}},
		"above one":          {func(r []logRow) { r[7].propensity = 1.01 }, FileOptions{}, []string{"row 8 (1.01)"}},
		"missing propensity": {func(r []logRow) { r[3].propensity, r[9].propensity = nan, nan }, FileOptions{}, []string{"2 of 50 rows", "row 4 (missing", "row 10 (missing", "cannot be guessed"}},
		"many": {func(r []logRow) {
			for i := range r {
				r[i].propensity = 0
			}
		}, FileOptions{}, []string{"50 of 50", "row 5 (0), …"}},
		"tiny":             {func(r []logRow) { r[1].propensity = 1e-320 }, FileOptions{}, []string{"row 2", "no numbers"}},
		"missing reward":   {func(r []logRow) { r[2].reward = nan }, FileOptions{}, []string{"reward", "row 3 (missing"}},
		"infinite reward":  {func(r []logRow) { r[2].reward = math.Inf(1) }, FileOptions{}, []string{"reward", "row 3 (+Inf)"}},
		"sum":              {func(r []logRow) { r[5].π = []float64{0.25, 0.5, 0.2499} }, FileOptions{}, []string{"sum to 1", "row 6"}},
		"not probability":  {func(r []logRow) { r[5].π = []float64{-0.25, 1, 0.25} }, FileOptions{}, []string{"row 6 (-0.25)"}},
		"unequal lengths":  {func(r []logRow) { r[5].π = []float64{0.5, 0.5} }, FileOptions{}, []string{"same length", "row 6 (2 values)"}},
		"unequal q":        {func(r []logRow) { r[5].q = []float64{0.5, 0.5, 1, 1} }, FileOptions{}, []string{"predicted_rewards", "row 6 (4 values)"}},
		"no prediction":    {func(r []logRow) { r[5].q = []float64{0.5, nan, 1} }, FileOptions{}, []string{"predicted_rewards", "row 6"}},
		"action outside":   {func(r []logRow) { r[6].action = 3 }, FileOptions{}, []string{"3 actions, numbered 0 to 2", "row 7 (3)"}},
		"negative action":  {func(r []logRow) { r[6].action = -1 }, FileOptions{}, []string{"no such action", "row 7 (-1)"}},
		"missing customer": {func(r []logRow) { r[6].customer = "" }, FileOptions{}, []string{"customer", "row 7"}},
		"below declared":   {func(r []logRow) { r[6].reward = -2 }, FileOptions{RewardMin: ptr(-1)}, []string{"-1 is declared the least reward", "row 7 (-2)"}},
		"above declared":   {func(r []logRow) { r[6].reward = 9 }, FileOptions{RewardMax: ptr(5)}, []string{"5 is declared the largest reward", "row 7 (9)"}},
		"several": {func(r []logRow) { r[6].reward, r[8].propensity = nan, 2 }, FileOptions{},
			[]string{"reward: 1 of 50", "propensity: 1 of 50"}},
	} {
		t.Run(name, func(t *testing.T) {
			rows := simulatedLog(50, 4)
			c.spoil(rows)
			_, err := EvaluateFile(context.Background(), writeParquet(t, rows, plain, 20), c.o, nil)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v\nlacks %q", err, w)
				}
			}
		})
	}
}

func ptr(v float64) *float64 { return &v }

// Logs that hold too little get a report without a conclusion and without a
// number that is none.
func TestFileRefusesConclusions(t *testing.T) {
	for name, c := range map[string]struct {
		make func(rows []logRow) []logRow
		o    FileOptions
		code string
	}{
		"one row": {func(r []logRow) []logRow { return r[:1] }, FileOptions{}, "low_ess"},
		"all weights zero": {func(r []logRow) []logRow {
			var out []logRow
			for _, x := range r {
				x.π = []float64{0, 0, 1}
				if x.action != 2 {
					out = append(out, x)
				}
			}
			return out
		}, FileOptions{Floor: 0.2}, "low_ess"},
		"never tried": {func(r []logRow) []logRow {
			var out []logRow
			for _, x := range r {
				if x.action != 2 {
					out = append(out, x)
				}
			}
			return out
		}, FileOptions{}, "off_support"},
		"no reward": {func(r []logRow) []logRow {
			for i := range r {
				r[i].reward = 0
			}
			return r
		}, FileOptions{}, "few_conversions"},
		"broken floor":  {func(r []logRow) []logRow { return r }, FileOptions{Floor: 0.25}, "floor_broken"},
		"broken weight": {func(r []logRow) []logRow { return r }, FileOptions{MaxWeight: 1.2}, "floor_broken"},
		"wrong propensities": {func(r []logRow) []logRow {
			for i := range r {
				r[i].propensity /= 2
			}
			return r
		}, FileOptions{}, "weights_do_not_average_to_one"},
		"one large order": {func(r []logRow) []logRow { r[0].reward = 1e6; return r }, FileOptions{}, "one_customer_dominates"},
	} {
		t.Run(name, func(t *testing.T) {
			r := evaluateFile(t, writeParquet(t, c.make(simulatedLog(2000, 5)), plain, 1000), c.o)
			found := false
			for _, x := range r.Refusals {
				found = found || x.Code == c.code
				if x.Cure == "" {
					t.Errorf("%s has no cure", x.Code)
				}
			}
			if !found {
				t.Errorf("refusals %v, want %s", r.Refusals, c.code)
			}
			if !strings.HasPrefix(r.Verdict, "No conclusion") {
				t.Errorf("verdict %q", r.Verdict)
			}
			if c.code == "off_support" && r.Bounds == nil {
				t.Errorf("bounds %v", r.Bounds)
			}
		})
	}
}

// Constant rewards, negative revenue: estimates without the intervals that
// would be wrong.
func TestFileIntervalsThatCannotBe(t *testing.T) {
	rows := simulatedLog(2000, 6)
	for i := range rows {
		rows[i].reward = 1
	}
	r := evaluateFile(t, writeParquet(t, rows, plain, 1000), FileOptions{RewardMin: ptr(0), RewardMax: ptr(1)})
	if e, _ := r.Estimate("snips"); *e.Value != 1 || e.Interval == methodNormal {
		t.Errorf("constant rewards: %+v", e)
	}
	for i := range rows {
		rows[i].reward = float64(i%7) - 3
	}
	path := writeParquet(t, rows, plain, 1000)
	r = evaluateFile(t, path, FileOptions{Floor: 0.2})
	if r.Picked.Interval != methodNormal || !hasMissing(r, missingRewardRange) {
		t.Errorf("negative revenue of no declared range: %+v, %+v", r.Picked, r.Missing)
	}
	r = evaluateFile(t, path, FileOptions{Floor: 0.2, RewardMin: ptr(-3), RewardMax: ptr(3)})
	if r.Picked.Interval != methodLikelihood || hasMissing(r, missingRewardRange) {
		t.Errorf("negative revenue of a declared range: %+v, %+v", r.Picked, r.Missing)
	}
}

func hasMissing(r *FileReport, code string) bool {
	for _, x := range r.Missing {
		if x.Code == code {
			return true
		}
	}
	return false
}

// The interval follows from the log: its logger, and what is declared.
func TestFilePicksTheInterval(t *testing.T) {
	rows := simulatedLog(3000, 7)
	path := writeParquet(t, rows, plain, 1000)
	r := evaluateFile(t, path, FileOptions{})
	if r.Picked.Interval != methodBetting || !hasMissing(r, missingMaxWeight) || r.Log.Logger != loggerFixed {
		t.Errorf("nothing declared: %+v, %+v", r.Picked, r.Missing)
	}
	r = evaluateFile(t, path, FileOptions{Floor: 0.2})
	if r.Picked.Interval != methodLikelihood || r.Refused() {
		t.Errorf("floor declared: %+v, %v", r.Picked, r.Refusals)
	}
	if e, _ := r.Estimate("dr"); e.Interval != methodLikelihood || !(*e.Low < 0.225 && 0.225 < *e.High) {
		t.Errorf("DR %+v", e)
	}
	r = evaluateFile(t, path, FileOptions{Floor: 0.2, Logger: loggerAdaptive})
	if r.Picked.Interval != methodBetting {
		t.Errorf("adaptive declared: %+v", r.Picked)
	}
	for i := range rows { // a logger that learns to like action 1
		rows[i].propensity = 0.3 + 0.3*float64(i)/3000
	}
	r = evaluateFile(t, writeParquet(t, rows, plain, 1000), FileOptions{Floor: 0.2})
	if r.Log.Logger != loggerAdaptive || r.Picked.Interval != methodBetting {
		t.Errorf("drifting propensities: %+v", r.Log)
	}
}

// Columns have their names, Open Bandit Pipeline's, or those that are mapped.
func TestFileColumns(t *testing.T) {
	dir := t.TempDir()
	write := func(header string, lines ...string) string {
		path := filepath.Join(dir, "log.csv")
		if err := os.WriteFile(path, []byte(header+"\n"+strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		header string
		line   string
		o      FileOptions
		want   string
	}{
		{"reward,action,propensity", "1,a,0.5", FileOptions{}, "says nothing of the candidate"},
		{"reward,action,p,pi_e_action", "1,a,0.5,1", FileOptions{}, "propensity: the file has no such column"},
		{"reward,action,p,pi_e_action", "1,a,0.5,1", FileOptions{Map: map[string]string{"propensity": "q"}}, `no column "q"`},
		{"reward,action,p,pi_e_action", "1,a,0.5,1", FileOptions{Map: map[string]string{"propensities": "p"}}, "there is no such field"},
		{"reward,action,propensity,pi_e", `1,a,0.5,"[0.5,0.5]"`, FileOptions{}, "--actions"},
		{"reward,action,propensity,pi_e", `1,0,0.5,"[0.5,null]"`, FileOptions{}, "every probability"},
		{"reward,action,propensity,pi_e,pi_e_action", `1,0,0.5,"[0.4,0.6]",0.6`, FileOptions{}, "0.6, listed 0.4"},
		{"reward,action,propensity,pi_e_action", "", FileOptions{}, "has no rows"},
		{"reward,action,propensity,pi_e_action", "1,0,0.5,1", FileOptions{Estimators: []string{"magic"}}, `estimator "magic" is not one of`},
	} {
		_, err := EvaluateFile(context.Background(), write(c.header, c.line), c.o, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %s: %v; want %q", c.header, c.line, err, c.want)
		}
	}
	r := evaluateFile(t, write("reward,action,p,pi_e", `1,b,0.5,"[0.25,0.75]"`, `0,a,0.5,"[0.25,0.75]"`), FileOptions{Map: map[string]string{"propensity": "p"}, Actions: []string{"a", "b"}})
	if e, _ := r.Estimate("ips"); *e.Value != 0.75 {
		t.Errorf("IPS %v, want 0.75", *e.Value)
	}
	if !hasMissing(r, missingColumn) {
		t.Errorf("DR without predictions: %v", r.Missing)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.parquet"), []byte("PAR1 is not enough PAR1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := EvaluateFile(context.Background(), filepath.Join(dir, "x.parquet"), FileOptions{}, nil); err == nil {
		t.Error("a damaged file was read")
	}
}
