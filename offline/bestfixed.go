package offline

import "nextbest"

// fixedStatistics accumulate, for one fold, the self-normalised value of
// "always this action where it is eligible, else do nothing" for every action.
type fixedStatistics struct {
	own      []arm // rows that took the action
	idle     arm   // rows that did nothing
	idleWith []arm // of those, rows on which the action was eligible
}

type arm struct {
	rows   float64
	weight float64 // Σ1/μ
	reward float64 // Σr/μ
}

func (a *arm) add(w, r float64) { a.rows++; a.weight += w; a.reward += w * r }

func (a *arm) merge(o arm) { a.rows += o.rows; a.weight += o.weight; a.reward += o.reward }

func (s *fixedStatistics) grow(actions int) {
	for len(s.own) < actions {
		s.own = append(s.own, arm{})
		s.idleWith = append(s.idleWith, arm{})
	}
}

// add adds one row: the action taken, the eligible ones by our numbers.
func (s *fixedStatistics) add(taken, nothing int32, eligible []uint32, local []int32, propensity, reward float64) {
	w := 1 / propensity
	s.own[taken].add(w, reward)
	if taken == nothing {
		s.idle.add(w, reward)
		for _, e := range eligible {
			s.idleWith[local[e]].add(w, reward)
		}
	}
}

func (s *fixedStatistics) merge(o *fixedStatistics) {
	s.grow(len(o.own))
	s.idle.merge(o.idle)
	for i := range o.own {
		s.own[i].merge(o.own[i])
		s.idleWith[i].merge(o.idleWith[i])
	}
}

// fewestRows an action must have been taken on before it may be the best.
const fewestRows = 30

// bestFixed chooses the best fixed action for the customers of each fold from
// the customers of the folds before it, so that its value is not flattered by
// the luck that chose it: an honest comparison pays for the choice. The first
// fold only chooses (−1), and is left out of what is said about the best fixed
// action. Choosing for every fold from all others would use more rows, but the
// folds' errors would then be correlated where actions are nearly equal, and
// intervals cover .88 instead of .95; in sequence they are a martingale
// (Luedtke and van der Laan 2016, Annals of Statistics 44:713). Ties go to the
// name that sorts first.
func bestFixed(folds []fixedStatistics, names []string) []int32 {
	out := make([]int32, len(folds))
	var seen fixedStatistics
	for f := range folds {
		seen.grow(len(names))
		out[f] = -1
		best := 0.0
		for a, t := range seen.own {
			if t.rows < fewestRows {
				continue
			}
			if names[a] != nextbest.DoNothing { // rows where it is not eligible do nothing
				i := seen.idleWith[a]
				t.weight += seen.idle.weight - i.weight
				t.reward += seen.idle.reward - i.reward
			}
			v := t.reward / t.weight
			if out[f] < 0 || v > best || v == best && names[a] < names[out[f]] {
				out[f], best = int32(a), v
			}
		}
		seen.merge(&folds[f])
	}
	return out
}
