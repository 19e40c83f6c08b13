package offline

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/google/uuid"
	"gonum.org/v1/gonum/mat"
)

// sampleSize bounds the rows of each outcome that a logistic reward model is
// fitted to in one lane (about 20 MB with 32 features). Rows that convert are
// rare, so that they are seldom thinned.
const sampleSize = 60_000

// logisticSample is what a logistic reward model is fitted to: of the rows with
// each outcome, 0 and 1, a sample of bounded size that depends on the decisions'
// ids alone, neither on order nor on batches. Thinned outcomes count with the
// inverse of their share (case-control sampling; Prentice and Pyke 1979,
// Biometrika 66:403, weighted).
type logisticSample struct {
	none, some reservoir
	forward    bool // as modelStatistics.forward
}

// reservoir keeps the rows whose key lies below a threshold, which is halved
// whenever they are too many.
type reservoir struct {
	halvings int
	rows     []sampledRow
}

type sampledRow struct {
	key    uint64
	action int32
	fold   uint8
	x      []float32 // nil where the row has no features
}

// sampleKey spreads a decision's id over 64 bits (the finaliser of Steele, Lea
// and Flood 2014, SplitMix).
func sampleKey(id uuid.UUID, slotted int) uint64 {
	z := binary.BigEndian.Uint64(id[:8]) ^ binary.BigEndian.Uint64(id[8:])*0x9e3779b97f4a7c15 ^ uint64(slotted)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (s *logisticSample) add(key uint64, fold uint8, action int32, x []float32, reward float64) {
	r := &s.none
	if reward != 0 {
		r = &s.some
	}
	if !r.takes(key) {
		return
	}
	r.rows = append(r.rows, sampledRow{key, action, fold, append([]float32(nil), x...)})
	if len(r.rows) > sampleSize {
		r.halve()
	}
}

func (r *reservoir) takes(key uint64) bool { return key>>(64-r.halvings) == 0 }

// halve lowers the threshold until no more than sampleSize rows are left.
func (r *reservoir) halve() {
	for len(r.rows) > sampleSize {
		r.halvings++
		kept := r.rows[:0]
		for _, row := range r.rows {
			if r.takes(row.key) {
				kept = append(kept, row)
			}
		}
		clear(r.rows[len(kept):])
		r.rows = kept
	}
}

func (r *reservoir) merge(o *reservoir) {
	r.halvings = max(r.halvings, o.halvings)
	all := append(r.rows, o.rows...)
	r.rows = all[:0]
	for _, row := range all {
		if r.takes(row.key) {
			r.rows = append(r.rows, row)
		}
	}
}

func (s *logisticSample) merge(o *logisticSample) {
	s.none.merge(&o.none)
	s.some.merge(&o.some)
}

// fit turns the linear reward model m into a logistic one, P(r = 1 | x, a) =
// 1/(1 + exp(−θᵀ(1, x))), for each fold from the other folds' rows: penalised
// maximum likelihood by Newton's method, ridge on every weight, the intercept
// drawn to the log-odds of all actions together with the weight of ridge.
func (s *logisticSample) fit(m *rewardModel, folds int, ridge float64) {
	byAction := make([][]outcome, m.actions)
	for one, r := range []*reservoir{&s.none, &s.some} {
		weight := math.Ldexp(1, r.halvings)
		for _, row := range r.rows {
			byAction[row.action] = append(byAction[row.action], outcome{row.x, float64(one), weight, row.fold})
		}
	}
	prior := make([]float64, folds)
	for f := range folds {
		var ones, all float64
		for _, rows := range byAction {
			for _, o := range rows {
				if !leaves(s.forward, f, int(o.fold)) {
					ones += o.weight * o.one
					all += o.weight
				}
			}
		}
		p := (ones + 0.5) / (all + 1)
		prior[f] = math.Log(p / (1 - p))
	}
	m.logistic = true
	var wg sync.WaitGroup
	actions := make(chan int)
	for range lanes {
		wg.Go(func() {
			n := newton{forward: s.forward, width: m.width, h: mat.NewSymDense(m.width+1, nil), g: mat.NewVecDense(m.width+1, nil)}
			for a := range actions {
				start := make([]float64, m.width+1) // the fit to all rows: folds differ little from it
				if start[0] = prior[0]; !s.forward {
					n.fit(start, byAction[a], -1, ridge, prior[0])
				}
				for f := range folds {
					θ := m.of(f, int32(a))
					if s.forward && f == 0 { // nothing came before: q = 0
						θ[0] = math.Inf(-1)
						start[0] = prior[min(1, folds-1)]
						continue
					}
					copy(θ, start)
					n.fit(θ, byAction[a], f, ridge, prior[f])
					if s.forward {
						copy(start, θ)
					}
				}
			}
		})
	}
	for a := range m.actions {
		actions <- a
	}
	close(actions)
	wg.Wait()
}

type outcome struct {
	x      []float32
	one    float64
	weight float64
	fold   uint8
}

// newton is the scratch of one fit.
type newton struct {
	forward bool
	width   int
	h       *mat.SymDense
	g       *mat.VecDense
	step    mat.VecDense
	chol    mat.Cholesky
	tri     []float64 // lower triangle of the Hessian, row after row
	z       []float64 // (1, x)
}

const (
	newtonSteps     = 25
	newtonTolerance = 1e-6 // of the largest change of a weight
)

// fit improves θ to the maximum over the rows that are not of fold out. Steps
// that do not raise the likelihood are halved; where nothing raises it, θ stays.
func (n *newton) fit(θ []float64, rows []outcome, out int, ridge, prior float64) {
	trial := make([]float64, len(θ))
	loss := n.loss(θ, rows, out, ridge, prior)
	for range newtonSteps {
		n.derivatives(θ, rows, out, ridge, prior)
		if !n.chol.Factorize(n.h) || n.chol.SolveVecTo(&n.step, n.g) != nil {
			return
		}
		moved := 0.0
		for size := 1.0; size > 1e-4; size /= 2 {
			moved = 0
			for i := range θ {
				d := size * n.step.AtVec(i)
				trial[i] = θ[i] - d
				moved = max(moved, math.Abs(d))
			}
			if l := n.loss(trial, rows, out, ridge, prior); l <= loss {
				loss = l
				copy(θ, trial)
				break
			}
			moved = 0
		}
		if moved < newtonTolerance {
			return
		}
	}
}

// loss is minus the penalised log-likelihood.
func (n *newton) loss(θ []float64, rows []outcome, out int, ridge, prior float64) float64 {
	s := ridge * (θ[0] - prior) * (θ[0] - prior) / 2
	for _, w := range θ[1:] {
		s += ridge * w * w / 2
	}
	for i := range rows {
		o := &rows[i]
		if leaves(n.forward, out, int(o.fold)) {
			continue
		}
		η := linear(θ, o.x)
		s += o.weight * (softplus(η) - o.one*η)
	}
	return s
}

// derivatives fills the gradient and the Hessian.
func (n *newton) derivatives(θ []float64, rows []outcome, out int, ridge, prior float64) {
	d := n.width + 1
	if n.tri == nil {
		n.tri, n.z = make([]float64, d*(d+1)/2), make([]float64, d)
	}
	clear(n.tri)
	g := n.g.RawVector().Data
	clear(g)
	g[0] = ridge * (θ[0] - prior)
	for i := 1; i < d; i++ {
		g[i] = ridge * θ[i]
	}
	z := n.z
	for i := range rows {
		o := &rows[i]
		if leaves(n.forward, out, int(o.fold)) {
			continue
		}
		p := logistic(linear(θ, o.x))
		clear(z)
		z[0] = 1
		for k, v := range o.x {
			z[k+1] = float64(v)
		}
		e, h := o.weight*(p-o.one), o.weight*p*(1-p)
		used := len(o.x) + 1
		at := 0
		for k, zk := range z[:used] {
			g[k] += e * zk
			hz := h * zk
			row := n.tri[at : at+k+1]
			for j := range row {
				row[j] += hz * z[j]
			}
			at += k + 1
		}
	}
	for i := range d {
		for j := range i + 1 {
			v := n.tri[triangle(i, j)]
			if i == j {
				v += ridge
			}
			n.h.SetSym(i, j, v)
		}
	}
}

func linear(θ []float64, x []float32) float64 {
	s := θ[0]
	for k, v := range x {
		s += θ[k+1] * float64(v)
	}
	return s
}

func logistic(η float64) float64 { return 1 / (1 + math.Exp(-η)) }

// softplus is log(1 + e^η).
func softplus(η float64) float64 {
	if η > 0 {
		return η + math.Log1p(math.Exp(-η))
	}
	return math.Log1p(math.Exp(η))
}
