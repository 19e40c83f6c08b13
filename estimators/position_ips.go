package estimators

// PositionIPS is the value of a list's slots under independence, M[Σ_l w_l r_l]
// with w_l = π_l(a_l|x)/μ_l(a_l|x) of the slot's marginal probabilities: those of
// seeing a_l in slot l whatever stands above it (Li, Abbasi-Yadkori, Kveton,
// Muthukrishnan, Vinay and Wen 2018, arXiv 1804.10488, §4, item-position model).
// The probability that was logged for the draw given the slots above is not that
// and gives a biased answer. Each row is a list; its value is per list.
func PositionIPS(by Customers, lists [][]Slot) (Estimate, error) {
	return NewPositionIPS().over(by, len(lists), func(i int, r *Row) { r.Slots = lists[i] })
}

// NewPositionIPS accumulates PositionIPS from Row.Slots.
func NewPositionIPS() *Total {
	return &Total{kind: "position_ips", needs: needSlotMarginals, term: func(r *Row) (x, d float64) {
		for _, s := range r.Slots {
			x += s.Marginal * s.Reward
		}
		return x, 1
	}}
}

// PositionMarginals turns a policy that fills a list from the top, without
// repeats, into the probability of each action at each slot: m[l][a]. next
// returns the distribution over the actions given those already placed, which it
// must give 0. The work grows as actions^slots.
func PositionMarginals(slots, actions int, next func(above []int) []float64) [][]float64 {
	m := make([][]float64, slots)
	for l := range m {
		m[l] = make([]float64, actions)
	}
	var walk func(above []int, p float64)
	walk = func(above []int, p float64) {
		l := len(above)
		if l == slots {
			return
		}
		for a, q := range next(above) {
			if q > 0 {
				m[l][a] += p * q
				walk(append(above[:l:l], a), p*q)
			}
		}
	}
	walk(nil, 1)
	return m
}
