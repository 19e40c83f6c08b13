package experiments

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"nextbest"
)

// testdata/assignment.json was computed by another implementation; every
// client that assigns must agree with it.
func TestAssignVectors(t *testing.T) {
	b, err := os.ReadFile("testdata/assignment.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			Salt         string
			Ramp         float64
			Shares       []float64
			HoldoutSalt  string  `json:"holdout_salt"`
			HoldoutShare float64 `json:"holdout_share"`
			Customer     string
			UEnrol       float64 `json:"u_enrol"`
			UArm         float64 `json:"u_arm"`
			UHoldout     float64 `json:"u_holdout"`
			Held         bool
			Enrolled     bool
			Arm          int
		}
	}
	if err := json.Unmarshal(b, &file); err != nil || len(file.Cases) == 0 {
		t.Fatal(len(file.Cases), err)
	}
	for _, c := range file.Cases {
		d := &Definition{Salt: c.Salt, Ramp: c.Ramp}
		for _, s := range c.Shares {
			d.Arms = append(d.Arms, Arm{Share: s})
		}
		got := Assign(d, &Holdout{Share: c.HoldoutShare, Salt: c.HoldoutSalt}, c.Customer)
		if want := (Assignment{c.Held, c.Enrolled, c.Arm}); got != want {
			t.Errorf("%s %s: %+v, want %+v", c.Salt, c.Customer, got, want)
		}
		for suffix, want := range map[string]float64{"/enrol": c.UEnrol, "/arm": c.UArm} {
			if u := nextbest.Uniform(c.Salt+suffix, c.Customer); u != want {
				t.Errorf("%s%s %s: %v, want %v", c.Salt, suffix, c.Customer, u, want)
			}
		}
	}
}

func TestAssignProperties(t *testing.T) {
	const n = 40_000
	d := &Definition{Salt: "properties", Ramp: .3, Arms: []Arm{{Share: .1}, {Share: .25}, {Share: .65}}}
	h := &Holdout{Share: .05, Salt: "properties"} // the same salt must not correlate
	before := make([]Assignment, n)
	arms := make([]int, 3)
	enrolled, held, both := 0, 0, 0
	for i := range n {
		a := Assign(d, h, fmt.Sprint("customer-", i))
		before[i] = a
		if a.Enrolled {
			enrolled++
			arms[a.Arm]++
			if a.Held {
				both++
			}
		}
		if a.Held {
			held++
		}
	}
	check := func(what string, got int, p float64, of int) {
		t.Helper()
		want, sd := p*float64(of), math.Sqrt(p*(1-p)*float64(of))
		if math.Abs(float64(got)-want) > 4*sd {
			t.Errorf("%s: %d of %d, want %.0f ± %.0f", what, got, of, want, 4*sd)
		}
	}
	check("enrolled", enrolled, .3, n)
	check("held", held, .05, n)
	check("held and enrolled", both, .015, n)
	for k, a := range d.Arms {
		// Independence: the shares hold among the enrolled.
		check(fmt.Sprint("arm ", k), arms[k], a.Share, enrolled)
	}

	for _, ramp := range []float64{.3, .31, .6, 1} {
		d.Ramp = ramp
		late := make([]int, 3)
		newcomers := 0
		for i := range n {
			a := Assign(d, h, fmt.Sprint("customer-", i))
			if was := before[i]; was.Enrolled && a != was {
				t.Fatalf("ramp %v moved customer %d from %+v to %+v", ramp, i, was, a)
			} else if a.Enrolled && !was.Enrolled {
				newcomers++
				late[a.Arm]++
			}
			before[i] = a
		}
		if newcomers > 1000 {
			for k, a := range d.Arms {
				check(fmt.Sprintf("arm %d of those enrolled by ramp %v", k, ramp), late[k], a.Share, newcomers)
			}
		}
	}
}

func TestAssignEdges(t *testing.T) {
	d := &Definition{Salt: "s", Ramp: 0, Arms: []Arm{{Share: .5}, {Share: .5}}}
	for i := range 200 {
		c := fmt.Sprint(i)
		if a := Assign(d, nil, c); a.Enrolled || a.Held || a.Arm != -1 {
			t.Fatalf("ramp 0 enrolled customer %s: %+v", c, a)
		}
		if a := Assign(nil, nil, c); a.Enrolled || a.Held || a.Arm != -1 {
			t.Fatalf("no experiment: %+v", a)
		}
	}
	// Shares that sum to just under 1 leave nobody without an arm.
	d = &Definition{Salt: "s", Ramp: 1, Arms: []Arm{{Share: 1e-18}, {Share: 1e-18}}}
	if a := Assign(d, nil, "x"); a.Arm != 1 {
		t.Errorf("rounding: arm %d, want the last", a.Arm)
	}
}
