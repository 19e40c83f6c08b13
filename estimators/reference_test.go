package estimators

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// referenceData finds a file of the shared test data, or skips.
func referenceData(t *testing.T, name string) string {
	t.Helper()
	root := os.Getenv("NEXTBEST_TEST_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "shared", "data")
	}
	path := filepath.Join(root, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no test data (set NEXTBEST_TEST_DATA): %v", err)
	}
	return path
}

// column returns a numeric column's values, those of lists end to end.
func column(t *testing.T, table arrow.Table, name string) (out []float64) {
	t.Helper()
	at := table.Schema().FieldIndices(name)
	if len(at) != 1 {
		t.Fatalf("no column %s in %v", name, table.Schema())
	}
	var read func(a arrow.Array)
	read = func(a arrow.Array) {
		switch a := a.(type) {
		case *array.Float64:
			out = append(out, a.Float64Values()...)
		case *array.Int64:
			for _, v := range a.Int64Values() {
				out = append(out, float64(v))
			}
		case *array.List:
			lo, _ := a.ValueOffsets(0)
			_, hi := a.ValueOffsets(a.Len() - 1)
			read(array.NewSlice(a.ListValues(), lo, hi))
		default:
			t.Fatalf("column %s has type %T", name, a)
		}
	}
	for _, c := range table.Column(at[0]).Data().Chunks() {
		read(c)
	}
	return out
}

// referenceNumber is a JSON number or "inf".
type referenceNumber string

func (n *referenceNumber) UnmarshalJSON(b []byte) error {
	*n = referenceNumber(strings.Trim(string(b), `"`))
	return nil
}

func (n referenceNumber) value(missing float64) float64 {
	if v, err := strconv.ParseFloat(string(n), 64); err == nil {
		return v
	}
	return missing
}

// The values that Open Bandit Pipeline 0.5.7 computes on 10,000 real
// impressions.
func TestOpenBanditReference(t *testing.T) {
	path := referenceData(t, "reference/obd_men.parquet")
	f, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	reader, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := reader.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer table.Release()

	b, err := os.ReadFile(referenceData(t, "reference/obd_men.json"))
	if err != nil {
		t.Fatal(err)
	}
	var ref struct {
		Campaigns struct {
			Men struct {
				Meta struct {
					ESS  float64 `json:"ess"`
					Mean float64 `json:"iw_mean"`
				} `json:"meta"`
				Estimators map[string]struct {
					Value     float64                        `json:"value"`
					StdErr    float64                        `json:"se_sqrt(var/n)"`
					Lambda    referenceNumber                `json:"lambda"`
					Lambdas   []referenceNumber              `json:"lambdas"`
					Best      referenceNumber                `json:"best_lambda"`
					Bootstrap struct{ Lower, Upper float64 } `json:"bootstrap95"`
					Bounds    map[string]float64             `json:"one_sided_lower_delta=0.05"`
				} `json:"estimators"`
			} `json:"men"`
		} `json:"campaigns"`
	}
	if err := json.Unmarshal(b, &ref); err != nil {
		t.Fatal(err)
	}
	men := ref.Campaigns.Men

	reward, action := column(t, table, "reward"), column(t, table, "action")
	w, err := Weights(column(t, table, "pi_e_action"), column(t, table, "pscore"))
	if err != nil {
		t.Fatal(err)
	}
	π, qHat := column(t, table, "pi_e"), column(t, table, "q_hat")
	k := len(π) / len(w)
	q, qp := make([]float64, len(w)), make([]float64, len(w))
	for i := range w {
		q[i] = qHat[i*k+int(action[i])]
		for a := range k {
			qp[i] += π[i*k+a] * qHat[i*k+a]
		}
	}
	n := float64(len(w))
	for name, ref := range men.Estimators {
		kind, tuning, tuned := strings.Cut(name, "Tuning_")
		kind, _, _ = strings.Cut(kind, "_")
		value, lambdas := ref.Lambda.value(math.Inf(1)), []float64{}
		for _, l := range ref.Lambdas {
			lambdas = append(lambdas, l.value(math.NaN()))
		}
		spec := map[string]string{"IPW": "clipped_ips:max", "SNIPW": "snips", "DM": "dm", "DR": "clipped_dr:max", "SNDR": "sndr",
			"SwitchDR": "switch_dr:tau", "DRos": "dros:lambda", "SGIPW": "subgaussian_ips:lambda", "SGDR": "subgaussian_dr:lambda"}[kind]
		if spec == "" {
			t.Errorf("%s has no counterpart", name)
			continue
		}
		var a Accumulator
		var grid *Grid
		if tuned {
			grid, err = NewGrid(strings.Split(spec, ":")[0], lambdas)
			a = grid
		} else {
			if strings.Contains(spec, ":") {
				spec += fmt.Sprintf("=%v", value)
			}
			var c Choice
			c, err = ParseChoice(spec)
			a = c.New()
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range w {
			a.Add([]Row{{Weight: w[i], Reward: reward[i], Q: q[i], QPolicy: qp[i]}})
		}
		var e Estimate
		if tuned {
			es, err := grid.Estimates()
			if err != nil {
				t.Fatal(err)
			}
			k := 0
			if tuning == "mse" {
				k, err = grid.LeastError(1, 0.1)
			} else {
				k = SlopeByWidth(grid.widths(es, 0.1))
			}
			if err != nil || lambdas[k] != ref.Best.value(math.NaN()) {
				t.Errorf("%s chooses %v (%v), reference %v", name, lambdas[k], err, ref.Best)
			}
			e = es[k]
		} else if e, err = a.Estimate(); err != nil {
			t.Fatal(err)
		}
		if d := e.Value - ref.Value; !(math.Abs(d) <= 1e-12) {
			t.Errorf("%s = %.17g, reference %.17g", name, e.Value, ref.Value)
		}
		// The reference divides by n, not n − 1; what it says of the two
		// self-normalised ones is wrong.
		if kind != "SNIPW" && kind != "SNDR" && !tuned {
			if r := e.StdErr/math.Sqrt(n/(n-1))/ref.StdErr - 1; !(math.Abs(r) <= 1e-9) {
				t.Errorf("%s: standard error %.15g, reference %.15g", name, e.StdErr, ref.StdErr)
			}
		}
	}
	referenceBounds(t, w, reward, q, qp, men.Estimators["IPW"].Bounds, men.Estimators["DR"].Bounds)
	for name, f := range map[string]func(i int) float64{
		"IPW":               func(i int) float64 { return w[i] * reward[i] },
		"DR":                func(i int) float64 { return qp[i] + w[i]*(reward[i]-q[i]) },
		"SwitchDR_lambda=2": func(i int) float64 { return qp[i] + switched(w[i], 2)*(reward[i]-q[i]) },
		"DRos_lambda=10":    func(i int) float64 { return qp[i] + shrunk(w[i], 10)*(reward[i]-q[i]) },
		"SGIPW_lambda=0.1":  func(i int) float64 { return softened(w[i], 0.1) * reward[i] },
		"DM":                func(i int) float64 { return qp[i] },
	} {
		// Their multinomial bootstrap of rows, ours by Poisson counts; both of a few
		// thousand replicates, whose ends are known to some 3% of the width. There are
		// too few clicks for a report, so the ends are read below its refusal.
		boot := NewPoissonBootstrap(2, 4000, 1)
		for i := range w {
			boot.Add(uint64(i), []float64{f(i), 1}, reward[i] > 0)
		}
		v := boot.values(func(s []float64) float64 { return s[0] / s[1] })
		ref := men.Estimators[name].Bootstrap
		slack := 0.05 * (ref.Upper - ref.Lower)
		if lo, hi := percentile(v, 0.025), percentile(v, 0.975); math.Abs(lo-ref.Lower) > slack || math.Abs(hi-ref.Upper) > slack {
			t.Errorf("%s: bootstrap [%.6f, %.6f], reference [%.6f, %.6f]", name, lo, hi, ref.Lower, ref.Upper)
		}
	}
	if d := ESS(nil, w)/men.Meta.ESS - 1; d > 1e-12 || d < -1e-12 {
		t.Errorf("ESS = %g, reference %g", ESS(nil, w), men.Meta.ESS)
	}
}

// referenceBounds checks the one-sided bounds at δ = .05. The reference takes the
// largest contribution of the sample for its range, which a report must not.
func referenceBounds(t *testing.T, w, reward, q, qPolicy []float64, ips, dr map[string]float64) {
	t.Helper()
	for name, c := range map[string]struct {
		f   func(i int) float64
		ref map[string]float64
	}{
		"IPS": {func(i int) float64 { return w[i] * reward[i] }, ips},
		"DR":  {func(i int) float64 { return qPolicy[i] + w[i]*(reward[i]-q[i]) }, dr},
	} {
		top := math.Inf(-1)
		for i := range w {
			top = max(top, c.f(i))
		}
		// Its Bernstein bound has the width of [0, top]; ours is cut at Low.
		b := EmpiricalBernstein{Low: -0.5, High: top - 0.5}
		var r Ratio
		for i := range w {
			b.Add(1, c.f(i))
			r.Add(c.f(i), 1)
		}
		e, err := r.Estimate()
		if err != nil {
			t.Fatal(err)
		}
		lower, err := b.Lower(0.05)
		if err != nil {
			t.Fatal(err)
		}
		for bound, got := range map[string]float64{"bernstein": lower, "student_t": e.StudentLower(0.05), "hoeffding": e.HoeffdingLower(top, 0.05)} {
			if d := got - c.ref[bound]; !(math.Abs(d) <= 1e-9) {
				t.Errorf("%s: %s bound %.12g, reference %.12g", name, bound, got, c.ref[bound])
			}
		}
	}
}
