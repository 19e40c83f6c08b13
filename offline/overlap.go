package offline

// overlap counts what was taken, and what each candidate would take, by action.
type overlap struct {
	rows  float64
	taken []float64
	mass  [][]float64 // by candidate and action: Σπ
}

func newOverlap(actions, candidates int) *overlap {
	o := &overlap{taken: make([]float64, actions), mass: make([][]float64, candidates)}
	for c := range o.mass {
		o.mass[c] = make([]float64, actions)
	}
	return o
}

func (o *overlap) merge(from *overlap) {
	o.rows += from.rows
	for a, n := range from.taken {
		o.taken[a] += n
	}
	for c := range from.mass {
		for a, m := range from.mass[c] {
			o.mass[c][a] += m
		}
	}
}

// ActionShare says how often an action was taken, and how often each candidate
// would have taken it, as shares of all rows.
type ActionShare struct {
	Action     string    `json:"action"`
	Logged     float64   `json:"logged"`
	Candidates []float64 `json:"candidates"` // in the order of the results
}

func (o *overlap) shares(names []string) []ActionShare {
	out := []ActionShare{}
	for a, name := range names {
		s := ActionShare{Action: name, Candidates: []float64{}}
		if o.rows > 0 {
			s.Logged = o.taken[a] / o.rows
			for c := range o.mass {
				s.Candidates = append(s.Candidates, o.mass[c][a]/o.rows)
			}
		}
		out = append(out, s)
	}
	return out
}
