package estimators

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
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
					Value  float64 `json:"value"`
					StdErr float64 `json:"se_sqrt(var/n)"`
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
	for name, f := range map[string]func() (Estimate, error){
		"IPW":   func() (Estimate, error) { return IPS(nil, w, reward) },
		"SNIPW": func() (Estimate, error) { return SNIPS(nil, w, reward) },
		"DM":    func() (Estimate, error) { return DM(nil, qp) },
		"DR":    func() (Estimate, error) { return DR(nil, w, reward, q, qp) },
	} {
		e, err := f()
		if err != nil {
			t.Fatal(err)
		}
		if d := e.Value - men.Estimators[name].Value; d > 1e-12 || d < -1e-12 {
			t.Errorf("%s = %.17g, reference %.17g", name, e.Value, men.Estimators[name].Value)
		}
		// The reference divides by n, not n − 1; its SNIPW interval is wrong.
		if name != "SNIPW" {
			if r := e.StdErr/men.Estimators[name].StdErr - 1; r > 1e-4 || r < -1e-4 {
				t.Errorf("%s: standard error %g, reference %g", name, e.StdErr, men.Estimators[name].StdErr)
			}
		}
	}
	if d := ESS(nil, w)/men.Meta.ESS - 1; d > 1e-12 || d < -1e-12 {
		t.Errorf("ESS = %g, reference %g", ESS(nil, w), men.Meta.ESS)
	}
}
