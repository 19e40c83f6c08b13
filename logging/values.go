package logging

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"nextbest"
)

// ValueQuery asks what customers were worth.
type ValueQuery struct {
	Placement  string // id for every version, or id@version
	Source     string // live, an import's name, or "" for all
	Experiment string // id or id@version, "" for all
	From, To   time.Time
	Objective  nextbest.Objective
	// Bucket cuts time into stretches that begin at its multiples since the Unix
	// epoch; 0: one stretch.
	Bucket time.Duration
	// Holdout tells only two groups apart, arm "holdout" and arm "treated", over
	// all experiments; otherwise there is one for each arm of each experiment.
	Holdout bool
	// Mature leaves out decisions whose window has not ended. Without it, rewards
	// that are still to come are missing from the newest stretches.
	Mature bool
}

// Value is what the customers of one group were worth in one stretch of time:
// for each customer the sum of the rewards of the decisions in that stretch, by
// the objective.
type Value struct {
	Time       time.Time // start of the stretch; zero where there is only one
	Experiment string    // id@version
	Arm        string
	Decisions  int64
	Customers  int64
	Matched    int64   // decisions followed by a reward that counts
	Sum        float64 // over customers
	Mean, SD   float64 // per customer; SD is 0 for fewer than two
}

// Values returns the groups in order of time, experiment and arm. The rewards
// are those of Rows.
func (s *Store) Values(ctx context.Context, q ValueQuery) ([]Value, error) {
	now := time.Now()
	query := nextbest.Query{Placement: q.Placement, Source: q.Source, Experiment: q.Experiment, From: q.From, To: q.To, MatureAt: now, Objective: q.Objective}
	if q.Bucket < 0 {
		return nil, nextbest.FieldErrorf("bucket", "%s; it must not be negative", q.Bucket)
	}
	if !q.Mature {
		query.MatureAt = now.Add(q.Objective.Window.Std()) // a decision of this moment is in
	}
	plan, err := planRows(query, now)
	if err != nil {
		return nil, err
	}
	plan.narrow = true
	bucket := q.Bucket.Microseconds()
	groups := make(map[valueKey]*valueGroup)
	err = s.rows(ctx, plan, func(b *nextbest.Batch) error {
		for i := range b.N() {
			k := valueKey{experiment: b.Experiment[i], arm: b.Arm[i]}
			if q.Holdout {
				k.experiment = ""
				if k.arm != "holdout" {
					k.arm = "treated"
				}
			}
			if bucket > 0 {
				k.start = b.Time[i] - mod(b.Time[i], bucket)
			}
			g := groups[k]
			if g == nil {
				g = &valueGroup{}
				groups[k] = g
			}
			g.add(b.Customer[i], b.Reward[i], b.Matched[i])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	values := make([]Value, 0, len(groups))
	for k, g := range groups {
		v := g.value()
		v.Experiment, v.Arm = k.experiment, k.arm
		if bucket > 0 {
			v.Time = time.UnixMicro(k.start).UTC()
		}
		values = append(values, v)
	}
	slices.SortFunc(values, func(a, b Value) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Experiment, b.Experiment), cmp.Compare(a.Arm, b.Arm))
	})
	return values, nil
}

type valueKey struct {
	start           int64
	experiment, arm string
}

// valueGroup sums rows that come ordered by customer.
type valueGroup struct {
	v        Value
	customer string
	current  float64 // of the customer at hand
	squares  float64 // Σ(x − mean)² over the customers before (Welford 1962)
	mean     float64
}

func (g *valueGroup) add(customer string, reward float64, matched bool) {
	if g.v.Decisions == 0 || customer != g.customer {
		g.close()
		g.customer = customer
	}
	g.v.Decisions++
	g.current += reward
	if matched {
		g.v.Matched++
	}
}

// close counts the customer at hand.
func (g *valueGroup) close() {
	if g.v.Decisions == 0 {
		return
	}
	g.v.Customers++
	g.v.Sum += g.current
	delta := g.current - g.mean
	g.mean += delta / float64(g.v.Customers)
	g.squares += delta * (g.current - g.mean)
	g.current = 0
}

func (g *valueGroup) value() Value {
	g.close()
	g.v.Mean = g.mean
	if g.v.Customers > 1 {
		g.v.SD = math.Sqrt(g.squares / float64(g.v.Customers-1))
	}
	return g.v
}

// mod is the remainder that is never negative.
func mod(a, b int64) int64 { return ((a % b) + b) % b }
