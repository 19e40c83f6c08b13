package offline

import (
	"fmt"
	"time"

	"nextbest"
)

// Parts are the three sets of rows that a search keeps apart: every candidate
// learns from Train, the winner is chosen on Select, and it alone is judged on
// Gate, which nothing before has touched.
type Parts struct {
	Train  Part `json:"train"`
	Select Part `json:"select"`
	Gate   Part `json:"gate"`
}

// Part is one of them: decisions of the split's customers (all when nil) with
// From ≤ time < To whose window had closed at MatureAt.
type Part struct {
	From     time.Time       `json:"from,omitzero"`
	To       time.Time       `json:"to"`
	MatureAt time.Time       `json:"mature_at"`
	Split    *nextbest.Split `json:"split,omitempty"`
	Rows     int64           `json:"rows"` // that were there when the search began
}

// Of narrows a query to the part.
func (p *Part) Of(q nextbest.Query) nextbest.Query {
	q.From, q.To, q.MatureAt, q.Split = p.From, p.To, p.MatureAt, p.Split
	return q
}

// Period returns the part's rows, mature or not.
func (p *Part) Period() Period { return Period{Split: p.Split, From: p.From, To: p.To} }

// Shares are those of train and select in all rows; gate has the rest.
type Shares struct {
	Train  float64 `json:"train"`
	Select float64 `json:"select"`
}

// DefaultShares leave a quarter each to choose by and to judge by.
var DefaultShares = Shares{Train: 0.5, Select: 0.25}

// Check names what is wrong with the shares, at fields below field.
func (s Shares) Check(p *nextbest.Problems, field string) {
	if !(s.Train > 0 && s.Train < 1) {
		p.Add(field+".train", "%v must be a share between 0 and 1", s.Train)
	}
	if !(s.Select > 0 && s.Select < 1) {
		p.Add(field+".select", "%v must be a share between 0 and 1", s.Select)
	} else if s.Train > 0 && !(s.Train+s.Select < 1-1e-9) {
		p.Add(field+".select", "%v and train %v leave nothing to the gate: together they must stay below 1", s.Select, s.Train)
	}
}

// PartsByTime cuts the time from..to (from may be open) at two borders. A part
// counts rows whose window had closed before the next part begins: no reward is
// learned from or chosen by that came in the time of a later part, and no reward
// counts in two of them.
func PartsByTime(from, trainTo, selectTo, to, matureAt time.Time) (Parts, error) {
	var p nextbest.Problems
	switch {
	case !from.IsZero() && !from.Before(trainTo):
		p.Add("train_to", "%s leaves nothing to train on from %s: it must be after from", stamp(trainTo), stamp(from))
	case !trainTo.Before(selectTo):
		p.Add("select_to", "%s leaves nothing to choose by: it must be after train_to, %s", stamp(selectTo), stamp(trainTo))
	case !selectTo.Before(to):
		p.Add("select_to", "%s leaves nothing to the gate: it must be before the end, %s", stamp(selectTo), stamp(to))
	}
	earlier := func(border time.Time) time.Time {
		if matureAt.Before(border) {
			return matureAt
		}
		return border
	}
	return Parts{
		Train:  Part{From: from, To: trainTo, MatureAt: earlier(trainTo)},
		Select: Part{From: trainTo, To: selectTo, MatureAt: earlier(selectTo)},
		Gate:   Part{From: selectTo, To: to, MatureAt: matureAt},
	}, p.Err("the search")
}

// BordersOf cuts the time between a log's first and last decision by shares.
func BordersOf(first, last time.Time, s Shares) (trainTo, selectTo time.Time) {
	at := func(share float64) time.Time {
		return first.Add(time.Duration(share * float64(last.Sub(first)))).Truncate(time.Millisecond)
	}
	return at(s.Train), at(s.Train + s.Select)
}

// PartsByCustomers gives each part customers of its own, by one salt, at all
// times from..to.
func PartsByCustomers(salt string, s Shares, from, to, matureAt time.Time) Parts {
	part := func(low, high float64) Part {
		return Part{From: from, To: to, MatureAt: matureAt, Split: &nextbest.Split{Salt: salt, From: low, To: high}}
	}
	both := s.Train + s.Select
	return Parts{Train: part(0, s.Train), Select: part(s.Train, both), Gate: part(both, 1)}
}

// Check refuses parts without a row.
func (p *Parts) Check(window nextbest.Duration) error {
	var problems nextbest.Problems
	for _, x := range []struct {
		name string
		*Part
	}{{"train", &p.Train}, {"select", &p.Select}, {"gate", &p.Gate}} {
		if x.Rows > 0 {
			continue
		}
		cure := "take in more customers or more time"
		if x.Split == nil {
			cure = fmt.Sprintf("move its borders (train_to, select_to): it must be longer than the window of %s, which has to close within it, or split by customers", window)
		}
		problems.Add("parts."+x.name, "holds no decision from %s to %s whose window had closed at %s: %s", stamp(x.From), stamp(x.To), stamp(x.MatureAt), cure)
	}
	return problems.Err("the search")
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "the beginning"
	}
	return t.UTC().Format(time.RFC3339)
}
