package offline

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"

	"nextbest/estimators"
)

// fileStudy is what the first pass learns from a log file: the range of its
// rewards, how its weights lie, whether its logger stood still, and how its
// rows are ordered.
type fileStudy struct {
	rows                 int64
	rewardMin, rewardMax float64
	rewards              estimators.Ratio
	other                int64 // rewards other than 0 and 1
	negative             int64
	matched              int64 // rewards other than 0
	minPropensity        float64
	maxPropensity        float64
	certain              bool // the candidate takes or leaves every logged action
	predicted            span // of a reward model
	actions              []fileAction
	weights              weightHistogram
	positions            map[int64]*filePosition
	last                 string    // customer of the row before
	ascending            bool      // customers come in ascending order
	lists                int       // length of the lists, 0 without
	rewardLeast          float64   // above 0
	moments              pieceSums // Σ of squared weights by the order of rows
}

// fileAction is what the log holds of one action.
type fileAction struct {
	rows, converted   int64
	inverse, squares  float64 // Σ1/μ, Σ1/μ²
	logged, candidate float64 // Σμ, Σπ over its own rows
	least             float64 // μ
	trend             trend
}

type filePosition struct {
	rows   int64
	weight float64
	value  estimators.Ratio // M[wr] of its rows
}

// mostPositions bounds the positions that are told apart.
const mostPositions = 64

func newFileStudy() *fileStudy {
	return &fileStudy{rewardLeast: math.Inf(1), rewardMin: math.Inf(1), rewardMax: math.Inf(-1), minPropensity: math.Inf(1), predicted: emptySpan(),
		positions: map[int64]*filePosition{}, ascending: true, certain: true}
}

// piece takes checked rows; action numbers them.
func (s *fileStudy) piece(p *filePiece, action []int) {
	var r estimators.Row
	for i := range p.n {
		p.row(i, action[i], &r)
		row, customer := s.rows, ""
		if p.customers != nil {
			customer = p.customers[i]
		}
		s.rows++
		s.rewardMin, s.rewardMax = min(s.rewardMin, r.Reward), max(s.rewardMax, r.Reward)
		s.rewards.Add(r.Reward, 1)
		if r.Reward != 0 && r.Reward != 1 {
			s.other++
		}
		if r.Reward < 0 {
			s.negative++
		} else if r.Reward > 0 {
			s.rewardLeast = min(s.rewardLeast, r.Reward)
		}
		if r.Matched {
			s.matched++
		}
		μ := p.propensity[i]
		s.minPropensity, s.maxPropensity = min(s.minPropensity, μ), max(s.maxPropensity, μ)
		s.weights.add(r.Weight)
		s.moments.add(p.secondMoment(i, &r))
		π := p.probability(i, action[i])
		s.certain = s.certain && (π == 0 || π == 1)
		s.action(action[i], μ, π, driftGroup(customer, row), row, r.Matched)
		if p.predictions.present() {
			for _, q := range p.predictions.row(i) {
				s.predicted.see(q)
			}
		}
		if p.positions != nil {
			s.position(int64(p.positions[i]), &r)
		}
		if p.customers != nil {
			s.ascending = s.ascending && p.customers[i] >= s.last
			s.last = p.customers[i]
		}
	}
}

func (s *fileStudy) action(k int, μ, π float64, group int, row int64, matched bool) {
	for k >= len(s.actions) {
		s.actions = append(s.actions, fileAction{least: math.Inf(1)})
	}
	a := &s.actions[k]
	a.rows++
	if matched {
		a.converted++
	}
	a.inverse += 1 / μ
	a.squares += 1 / (μ * μ)
	a.logged += μ
	a.candidate += π
	a.least = min(a.least, μ)
	if k < mostDrifts {
		a.trend.add(group, float64(row), math.Log(μ))
	}
}

func (s *fileStudy) position(k int64, r *estimators.Row) {
	at := s.positions[k]
	if at == nil {
		if len(s.positions) == mostPositions {
			return
		}
		at = &filePosition{}
		s.positions[k] = at
	}
	at.rows++
	at.weight += r.Weight
	at.value.Add(r.Weight*r.Reward, 1)
}

// binary reports whether rewards are 0 and 1.
func (s *fileStudy) binary() bool { return s.other == 0 }

// drift is the largest |z| of an action's propensities against the order of
// rows, and the number of actions that were looked at. A logger that stands
// still has none, whatever its contexts, unless the file is sorted by them.
func (s *fileStudy) drift() (action int, z float64, tried int) {
	action = -1
	for k := range s.actions {
		if t, ok := s.actions[k].trend.z(); ok {
			tried++
			if action < 0 || math.Abs(t) > math.Abs(z) {
				action, z = k, t
			}
		}
	}
	return action, z, tried
}

// alphaDrift is the chance that a logger that stands still is taken for one
// that learns.
const alphaDrift = 0.001

// drifts reports whether the logger seems to have learned from the rows.
func (s *fileStudy) drifts() (action int, z float64, yes bool) {
	action, z, tried := s.drift()
	if tried == 0 {
		return action, z, false
	}
	return action, z, math.Abs(z) > distuv.UnitNormal.Quantile(1-alphaDrift/(2*float64(tried)))
}

// overlap returns each action that was taken.
func (s *fileStudy) overlap(name func(k int) string) []FileAction {
	out := []FileAction{}
	n := float64(s.rows)
	for k := range s.actions {
		a := &s.actions[k]
		if a.rows == 0 {
			continue
		}
		m := float64(a.rows)
		mass := a.inverse / n
		f := FileAction{Action: name(k), Rows: a.rows, Conversions: a.converted, Propensity: a.logged / m, LeastPropensity: a.least,
			Evaluation: a.candidate / m, InverseMass: mass}
		// The variance of 1{a}/μ over all rows, those that did not take it being 0.
		if v := a.squares/n - mass*mass; v > 1e-12*mass*mass && a.rows >= calibrationRows {
			z := (mass - 1) / math.Sqrt(v/n)
			f.Z = &z
		}
		out = append(out, f)
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Rows > out[j].Rows })
	return out
}

// calibrationRows is the fewest rows of an action whose inverse propensities
// are judged.
const calibrationRows = 25
