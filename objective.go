package nextbest

// Objective says which rewards count, with which weight and for how long.
// All arms of an experiment share one, or they could not be compared.
type Objective struct {
	ID          string   `json:"id,omitempty"`
	Terms       []Term   `json:"terms"`
	Window      Duration `json:"window"`                // attribution window after the decision
	Aggregation string   `json:"aggregation,omitempty"` // of one kind's rewards: sum (when absent), first, last or max
	Default     float64  `json:"default"`               // value of a decision with no reward at all
}

// Term is one reward kind's weight in an objective.
type Term struct {
	Reward string  `json:"reward"`
	Weight float64 `json:"weight"`
}
