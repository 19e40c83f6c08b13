package estimators

// BettingSequence accumulates customers for a two-sided confidence sequence of a
// policy's value by betting (Waudby-Smith et al. 2022, arXiv 2210.10768): both
// ends hold at every sample size at once where customers have one row each (of
// others, at each size: see Betting), for adaptive loggers too, and no largest
// weight is needed. The intersection of all intervals so far holds as well.
type BettingSequence struct {
	rMin, rMax float64
	low, high  Betting
}

// NewBettingSequence returns an empty sequence for rewards in [rMin, rMax] per
// row, ErrNoRewardRange where that is no range.
func NewBettingSequence(rMin, rMax float64) (*BettingSequence, error) {
	scale := rMax - rMin
	if !(scale > 0) || scale > 1e300 {
		return nil, ErrNoRewardRange
	}
	return &BettingSequence{rMin: rMin, rMax: rMax, low: Betting{Scale: scale}, high: Betting{Scale: scale}}, nil
}

// Add adds one customer, whose rewards lie in the range.
func (s *BettingSequence) Add(c *Customer) {
	s.AddMany(1, c.Rows, c.Weight, c.WeightedReward)
}

// AddMany adds count customers that are alike: rows n, Σw and Σwr.
func (s *BettingSequence) AddMany(count, n, weight, weightedReward float64) {
	s.low.AddMany(count, n, max(weightedReward-s.rMin*weight, 0))
	s.high.AddMany(count, n, max(s.rMax*weight-weightedReward, 0))
}

// Merge adds o's customers; ranges that differ panic.
func (s *BettingSequence) Merge(o *BettingSequence) {
	if s.rMin != o.rMin || s.rMax != o.rMax {
		panic("estimators: merged sequences have different ranges of rewards")
	}
	s.low.Merge(&o.low)
	s.high.Merge(&o.high)
}

// Interval returns the interval at the present sample size, 1 − alpha over all of
// them, within [rMin, rMax].
func (s *BettingSequence) Interval(alpha float64) (Interval, error) {
	lo, err := s.low.Lower(alpha / 2)
	if err != nil {
		return Interval{}, err
	}
	hi, err := s.high.Lower(alpha / 2)
	if err != nil {
		return Interval{}, err
	}
	return Interval{Low: min(s.rMin+lo, s.rMax), High: max(s.rMax-hi, s.rMin)}, nil
}
