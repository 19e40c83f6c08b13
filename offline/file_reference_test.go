package offline

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
					Lambda any
					Value  float64
				}
			}
		}
	}
	if err := json.Unmarshal(b, &ref); err != nil {
		t.Fatal(err)
	}
	men := ref.Campaigns.Men
	names := map[string]string{}
	o := FileOptions{Map: map[string]string{"propensity": "pscore"}}
	for theirs, ref := range men.Estimators {
		kind, _, _ := strings.Cut(theirs, "_")
		ours := map[string]string{"IPW": "ips", "SNIPW": "snips", "DM": "dm", "DR": "dr", "SNDR": "sndr"}[theirs]
		if parameter := map[string]string{"IPW": "clipped_ips:max", "DR": "clipped_dr:max", "SwitchDR": "switch_dr:tau", "DRos": "dros:lambda",
			"SGIPW": "subgaussian_ips:lambda", "SGDR": "subgaussian_dr:lambda"}[kind]; ours == "" && parameter != "" {
			ours = fmt.Sprintf("%s=%v", parameter, ref.Lambda)
		}
		if ours == "" && strings.HasSuffix(kind, "Tuning") {
			continue // the choice of a hyperparameter: TestOpenBanditReference in estimators
		}
		if ours == "" {
			t.Fatalf("%s has no counterpart", theirs)
		}
		names[theirs] = ours
		o.Estimators = append(o.Estimators, ours)
	}
	r := evaluateFile(t, filepath.Join(root, "reference", "obd_men.parquet"), o)
	for theirs, ours := range names {
		e, ok := r.Estimate(ours)
		if want := men.Estimators[theirs].Value; !ok || abs(*e.Value-want) > 1e-12 {
			t.Errorf("%s = %v, reference %s %.17g", ours, e, theirs, want)
		}
	}
	if len(r.Estimates) < 20 {
		t.Errorf("%d estimates, the reference has more", len(r.Estimates))
	}
	d := r.Diagnostics
	if abs(d.ESS/men.Meta.ESS-1) > 1e-12 || abs(d.MeanWeight-men.Meta.Mean) > 1e-12 || abs(d.MaxWeight-men.Meta.Max) > 1e-12 {
		t.Errorf("weights %+v, reference %+v", d.Diagnostics, men.Meta)
	}
}

func abs(v float64) float64 { return max(v, -v) }
