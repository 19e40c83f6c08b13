package offline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The values that Open Bandit Pipeline 0.5.7 computes on 10,000 real
// impressions of three positions, to 1e-12.
func TestFileReference(t *testing.T) {
	root := os.Getenv("NEXTBEST_TEST_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "shared", "data")
	}
	b, err := os.ReadFile(filepath.Join(root, "reference", "obd_men.json"))
	if err != nil {
		t.Skipf("no test data (set NEXTBEST_TEST_DATA): %v", err)
	}
	var ref struct {
		Campaigns struct {
			Men struct {
				Meta struct {
					ESS  float64 `json:"ess"`
					Mean float64 `json:"iw_mean"`
					Max  float64 `json:"iw_max"`
				}
				Estimators map[string]struct {
					Class  string
					Lambda float64
					Value  float64
				}
			}
		}
	}
	if err := json.Unmarshal(b, &ref); err != nil {
		t.Fatal(err)
	}
	men := ref.Campaigns.Men
	r := evaluateFile(t, filepath.Join(root, "reference", "obd_men.parquet"), FileOptions{Map: map[string]string{"propensity": "pscore"}})
	for theirs, ours := range map[string]string{"IPW": "ips", "SNIPW": "snips", "DM": "dm", "DR": "dr"} {
		e, ok := r.Estimate(ours)
		if want := men.Estimators[theirs].Value; !ok || abs(*e.Value-want) > 1e-12 {
			t.Errorf("%s = %v, reference %.17g", ours, show(e.Value), want)
		}
	}
	d := r.Diagnostics
	if abs(d.ESS/men.Meta.ESS-1) > 1e-12 || abs(d.MeanWeight-men.Meta.Mean) > 1e-12 || abs(d.MaxWeight-men.Meta.Max) > 1e-12 {
		t.Errorf("weights %+v, reference %+v", d.Diagnostics, men.Meta)
	}
}

func abs(v float64) float64 { return max(v, -v) }
