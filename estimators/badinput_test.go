package estimators

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// Every estimator refuses what it cannot use and names the row, or gives a
// number: never NaN.
func TestBadInputToTheCatalogue(t *testing.T) {
	nan, infinite := math.NaN(), math.Inf(1)
	spoil := map[string]func(r *Row){
		"weight": func(r *Row) {
			r.Weight, r.Cluster, r.Mixture, r.Slots[1].Weight, r.Slots[1].Marginal = nan, nan, nan, nan, nan
		},
		"negative": func(r *Row) {
			r.Weight, r.Cluster, r.Mixture, r.Slots[1].Weight, r.Slots[1].Marginal = -1, -1, -1, -1, -1
		},
		"infinite": func(r *Row) {
			r.Weight, r.Cluster, r.Mixture, r.Slots[1].Weight, r.Slots[1].Marginal = infinite, infinite, infinite, infinite, infinite
		},
		"reward":      func(r *Row) { r.Reward, r.Slots[2].Reward = nan, nan },
		"model":       func(r *Row) { r.Q, r.QPolicy, r.Slots[2].Q = nan, nan, nan },
		"stability":   func(r *Row) { r.Stability = 0 },
		"propensity":  func(r *Row) { r.Propensity = 0 },
		"uncertain":   func(r *Row) { r.Weight = 2 },
		"not uniform": func(r *Row) { r.Propensity = 0.5; r.Weight = 2 },
		"no slots":    func(r *Row) { r.Slots = nil },
		"loss":        func(r *Row) { r.Reward = -1 },
	}
	refused := map[string]string{
		"weight": "not dm", "negative": "not dm", "infinite": "not dm", "reward": "not dm",
		"stability": "adaptive_aipw", "propensity": "replay", "uncertain": "replay", "not uniform": "replay", "no slots": "position_ips cascade_dr", "loss": "log_smoothing",
		"model": "dm dr clipped_dr sndr switch_dr dros mrdr subgaussian_dr offcem adaptive_aipw cascade_dr",
	}
	for name, build := range everyAccumulator(t) {
		base, _, _ := strings.Cut(name, ":")
		for what, f := range spoil {
			customers := sampleRows(1, 30, base == "replay")
			row := 0
			for _, c := range customers[:20] {
				row += len(c)
			}
			f(&customers[20][0])
			a := build()
			for _, c := range customers {
				a.Add(c)
			}
			e, err := a.Estimate()
			must := strings.Contains(" "+refused[what]+" ", " "+base+" ")
			if strings.HasPrefix(refused[what], "not") {
				must = !strings.Contains(refused[what], base)
			}
			var re *RowError
			switch {
			case err == nil && (math.IsNaN(e.Value) || math.IsInf(e.Value, 0)):
				t.Errorf("%s, %s: %v", name, what, e)
			case must && (!errors.As(err, &re) || re.Row != row):
				t.Errorf("%s, %s: %v, want row %d", name, what, err, row)
			case err != nil && !errors.As(err, &re):
				t.Errorf("%s, %s: %v", name, what, err)
			}
			// What was bad in one part is bad in the whole.
			whole := build()
			whole.Merge(a)
			if _, again := whole.Estimate(); (again == nil) != (err == nil) {
				t.Errorf("%s, %s: merged %v, alone %v", name, what, again, err)
			}
		}
		// Degenerate logs.
		if _, err := build().Estimate(); !errors.Is(err, ErrEmpty) {
			t.Errorf("%s of an empty log: %v", name, err)
		}
		none := build()
		for _, c := range sampleRows(2, 30, base == "replay") {
			for i := range c {
				c[i].Weight, c[i].Cluster, c[i].Mixture = 0, 0, 0
			}
			none.Add(c)
		}
		if e, err := none.Estimate(); err != nil && !errors.Is(err, ErrNoWeight) || err == nil && (math.IsNaN(e.Value) || math.IsNaN(e.StdErr)) {
			t.Errorf("%s of weights that are all zero: %v, %v", name, e, err)
		}
		one := build()
		one.Add(sampleRows(4, 1, true)[0])
		if e, err := one.Estimate(); err != nil && !errors.Is(err, ErrNoWeight) || err == nil && (math.IsNaN(e.Value) || !math.IsNaN(e.StdErr)) {
			t.Errorf("%s of one customer: %v, %v", name, e, err)
		}
		constant := build()
		for _, c := range sampleRows(3, 50, base == "replay") {
			for i := range c {
				c[i].Reward = 7.25
			}
			constant.Add(c)
		}
		e, err := constant.Estimate()
		if err != nil || math.IsNaN(e.Value) {
			t.Errorf("%s of a constant reward: %v, %v", name, e, err)
		}
		if base == "snips" || base == "replay" {
			near(t, name+" of a constant reward", e.Value, 7.25, 1e-12)
			near(t, name+" se of a constant reward", e.StdErr, 0, 1e-12)
		}
	}
	for what, f := range map[string]func() error{
		"sum": func() error {
			_, err := ClusterWeights([][]float64{{.5, .6}}, [][]float64{{.5, .5}}, []int{0}, []int{0, 1})
			return err
		},
		"logged": func() error {
			_, err := ClusterWeights([][]float64{{.5, .5}}, [][]float64{{.5, .6}}, []int{0}, []int{0, 1})
			return err
		},
		"above 1": func() error {
			_, err := ClusterWeights([][]float64{{1.5, -.5}}, [][]float64{{.5, .5}}, []int{0}, []int{0, 1})
			return err
		},
		"no mass": func() error {
			_, err := ClusterWeights([][]float64{{.5, .5}}, [][]float64{{0, 1}}, []int{0}, []int{0, 1})
			return err
		},
		"action": func() error {
			_, err := ClusterWeights([][]float64{{.5, .5}}, [][]float64{{.5, .5}}, []int{2}, []int{0, 1})
			return err
		},
		"mixture": func() error {
			_, err := BalancedWeights([]float64{.5}, [][]float64{{0}, {0}}, []float64{1, 1})
			return err
		},
		"of logger": func() error {
			_, err := BalancedWeights([]float64{.5}, [][]float64{{.5}, {nan}}, []float64{1, 1})
			return err
		},
		"reference": func() error { _, err := StabilityWeight([][]float64{{.5, .5}}, [][]float64{{1, 0}}); return err },
		"mrdr":      func() error { _, err := MRDRWeights([]float64{.5}, []float64{0}); return err },
		"feature": func() error {
			_, err := MRDR(nil, []float64{1}, []float64{1}, [][]float64{{nan}}, [][]float64{{1}}, 2, 1e-9)
			return err
		},
	} {
		var re *RowError
		if err := f(); !errors.As(err, &re) || re.Row != 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	for name, f := range map[string]func(){
		"lengths":    func() { _, _ = DRos(nil, []float64{1}, []float64{1, 2}, nil, nil, 1) },
		"λ":          func() { NewDRos(-1) },
		"NaN":        func() { NewSwitchDR(nan) },
		"estimators": func() { NewIPS().Merge(NewSNIPS()) },
		"parameters": func() { NewDRos(1).Merge(NewDRos(2)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s that disagree do not panic", name)
				}
			}()
			f()
		}()
	}
}
