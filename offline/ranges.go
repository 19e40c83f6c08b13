package offline

import "nextbest"

// ranges are what the first pass fixed for the second.
type ranges struct {
	rewardMin, rewardMax float64
	origin               float64 // near the values: the logged mean
	scale                float64 // rewardMax − rewardMin, or 1
	bounds               bool    // betting intervals are needed
}

// keepsRange refuses a declared range of rewards that the log contradicts: no
// bound would hold.
func keepsRange(req *Request, s *study) error {
	var p nextbest.Problems
	if least := req.RewardMin; least != nil && s.rewardMin < *least {
		p.Add("reward_min", "%v is declared the least reward of a decision, and the log has %v", *least, s.rewardMin)
	}
	if most := req.RewardMax; most != nil && s.rewardMax > *most {
		p.Add("reward_max", "%v is declared the largest reward of a decision, and the log has %v", *most, s.rewardMax)
	}
	return p.Err("evaluation")
}

func rangesOf(req *Request, s *study) ranges {
	g := ranges{rewardMin: s.rewardMin, rewardMax: s.rewardMax}
	if s.rows == 0 {
		g.rewardMin, g.rewardMax = 0, 1
	} else if s.other == 0 {
		g.rewardMin, g.rewardMax = 0, 1 // binary, seen or not
	} else {
		// No reward at all is always possible.
		g.rewardMin = min(g.rewardMin, req.Query.Objective.Default)
		g.rewardMax = max(g.rewardMax, req.Query.Objective.Default)
	}
	if req.RewardMin != nil {
		g.rewardMin = *req.RewardMin
	}
	if req.RewardMax != nil {
		g.rewardMax = *req.RewardMax
	}
	g.scale = g.rewardMax - g.rewardMin
	if !(g.scale > 0) {
		g.scale = 1
	}
	if e, err := s.rewardSum.Estimate(); err == nil {
		g.origin = e.Value
	}
	_, ok := maxWeight(req, s)
	g.bounds = req.Adaptive || !ok
	return g
}

// maxWeight returns the largest weight that the design allows, and whether one
// was declared.
func maxWeight(req *Request, s *study) (float64, bool) {
	switch {
	case req.MaxWeight > 0:
		return req.MaxWeight, true
	case s.rows > 0 && s.unfloored == 0 && s.floor > 0:
		return 1 / s.floor, true
	}
	return 0, false
}
