package offline

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"nextbest"
)

// The baselines that stand beside every candidate, with nextbest.DoNothing.
const (
	nameLogged    = "logged"
	nameBestFixed = "best_fixed"
	prefixFixed   = "fixed:" // and the action
)

// Run evaluates the candidates. progress, if not nil, is told how many rows
// were read so far; every pass counts. The log itself is read once where the
// spool can keep the rows (and the first pass already knows that contexts are
// needed). Errors name the request's field or the decision that cannot be used.
func Run(ctx context.Context, reader Reader, req Request, progress func(done int64)) (*Report, error) {
	if err := req.prepare(time.Now()); err != nil {
		return nil, err
	}
	r := &run{reader: reader, req: &req, progress: progress, actions: newDictionary(), spool: newSpool(req.Spool),
		folds: folds{salt: "offline/folds/" + strconv.FormatUint(req.Seed, 10), n: req.Folds}}
	defer r.spool.clear()
	s, err := r.study(ctx)
	if err != nil {
		return nil, err
	}
	if err := keepsRange(&req, s); err != nil {
		return nil, err
	}
	g := rangesOf(&req, s)
	req.Estimators = slices.Clone(req.Estimators)
	for i, c := range req.Estimators {
		req.Estimators[i] = c.For(g.rewardMax)
	}
	if s.ground, err = r.groundwork(ctx, s); err != nil {
		return nil, err
	}
	best := bestFixed(s.fixed, r.actions.names)
	l, err := r.evaluate(ctx, s, g, best)
	if err != nil {
		return nil, err
	}
	if l.rows+s.missing != s.rows {
		return nil, nextbest.Errorf(nextbest.Conflict,
			"the log changed while it was read: %d rows, then %d; set the query's position (upto) and run again", s.rows, l.rows+s.missing)
	}
	return newReport(&req, s, l, g, r.actions.names, best), nil
}

type run struct {
	reader   Reader
	req      *Request
	progress func(int64)
	actions  *dictionary
	folds    folds
	done     int64
	spool    *spool
	final    bool // no pass follows the current one: its rows need not be kept

	// Of the current batch: each row's fold and lane.
	customer   string
	fold, half uint8
	foldOf     []uint8
	laneOf     []uint8
}

// assign fills in folds and lanes of a batch's rows and checks their order.
func (r *run) assign(b *nextbest.Batch) error {
	n := b.N()
	if cap(r.foldOf) < n {
		r.foldOf, r.laneOf = make([]uint8, n), make([]uint8, n)
	}
	r.foldOf, r.laneOf = r.foldOf[:n], r.laneOf[:n]
	for i, c := range b.Customer {
		if c != r.customer || r.done == 0 && i == 0 {
			if c < r.customer {
				return nextbest.Errorf(nextbest.Internal, "decision %s: customer %q comes after %q: the reader must order rows by customer", b.Decision[i], c, r.customer)
			}
			r.customer = c
			r.fold, r.half = r.folds.of(c)
		}
		r.foldOf[i], r.laneOf[i] = r.fold, r.half
	}
	return nil
}

// pass streams the rows once; each lane's function sees every batch and takes the
// rows that are its own. Lanes run at the same time where parallel. The rows come
// from the spool where an earlier pass has filled it, else from the log, and fill
// it for the passes that follow. A lane must not write to a batch, nor use it
// after it has returned.
func (r *run) pass(ctx context.Context, contexts, parallel bool, begin func(b *nextbest.Batch) error, lane func(lane int, b *nextbest.Batch) error) error {
	r.actions.begin()
	r.customer = ""
	read := r.done
	r.done = 0
	defer func() { r.done += read }()
	replayed := r.spool.holds(contexts)
	keep := !replayed && !r.final
	take := func(b *nextbest.Batch) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if b.N() == 0 {
			return nil
		}
		if err := checkBatch(b); err != nil {
			return err
		}
		r.actions.extend(b)
		if err := r.assign(b); err != nil {
			return err
		}
		if err := begin(b); err != nil {
			return err
		}
		if err := r.lanes(b, parallel, keep, lane); err != nil {
			return err
		}
		r.done += int64(b.N())
		if r.progress != nil {
			r.progress(read + r.done)
		}
		return nil
	}
	if replayed {
		return r.spool.replay(ctx, contexts, take)
	}
	if keep {
		r.spool.begin(contexts)
	}
	q := r.req.Query
	q.Contexts = contexts
	if err := r.reader.Rows(ctx, q, take); err != nil {
		return err
	}
	if keep {
		r.spool.end()
	}
	return nil
}

// lanes gives a batch to every lane and, where it is to be kept, to the spool
// beside them.
func (r *run) lanes(b *nextbest.Batch, parallel, keep bool, lane func(lane int, b *nextbest.Batch) error) error {
	var errs [lanes]error
	var wg sync.WaitGroup
	if keep {
		wg.Go(func() { r.spool.append(b) })
	}
	for k := range lanes {
		if parallel && k > 0 {
			wg.Go(func() { errs[k] = lane(k, b) })
		}
	}
	for k := range lanes {
		if !parallel || k == 0 {
			errs[k] = lane(k, b)
		}
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkBatch refuses a batch whose columns disagree.
func checkBatch(b *nextbest.Batch) error {
	n := b.N()
	for name, k := range map[string]int{"time": len(b.Time), "customer": len(b.Customer), "offsets": len(b.Offsets) - 1,
		"chosen": len(b.Chosen), "propensity": len(b.Propensity), "floor": len(b.Floor), "policies": len(b.Policies),
		"reward": len(b.Reward), "matched": len(b.Matched)} {
		if k != n {
			return nextbest.Errorf(nextbest.Internal, "the reader's batch has %d decisions but %d values of %s", n, k, name)
		}
	}
	if len(b.X) != n*b.Width {
		return nextbest.Errorf(nextbest.Internal, "the reader's batch has %d feature values for %d rows of width %d", len(b.X), n, b.Width)
	}
	if e, p := len(b.Eligible), len(b.Probabilities); p != e || b.Offsets[n] != e {
		return nextbest.Errorf(nextbest.Internal, "the reader's batch has %d eligible actions and %d probabilities", e, p)
	}
	return nil
}

// study is the first pass.
func (r *run) study(ctx context.Context) (*study, error) {
	var ss [lanes]*study
	var open [lanes]string
	width := -1
	err := r.pass(ctx, r.needsContexts(), true, func(b *nextbest.Batch) error {
		switch {
		case width < 0:
			width = b.Width
			for k := range ss {
				ss[k] = newStudy(r.req, width)
			}
		case width == 0 && b.Width > 0: // the first rows that carry features
			width = b.Width
			for _, s := range ss {
				s.widen(width)
			}
		}
		nothing := r.actions.find(nextbest.DoNothing)
		for _, s := range ss {
			s.nothing = nothing
		}
		return nil
	}, func(k int, b *nextbest.Batch) error {
		s := ss[k]
		for i, mine := range r.laneOf {
			if int(mine) != k {
				continue
			}
			if c := b.Customer[i]; !s.inCustomer || c != open[k] {
				s.open(c)
				open[k] = c
			}
			if err := s.row(b, i, r.foldOf[i], r.actions); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if width < 0 {
		return newStudy(r.req, 0), nil
	}
	for _, s := range ss {
		s.closeCustomer()
	}
	for _, s := range ss[1:] {
		ss[0].merge(s)
	}
	return ss[0], nil
}

// evaluate is the second pass.
func (r *run) evaluate(ctx context.Context, s *study, g ranges, best []int32) (*lane, error) {
	model, err := r.model(s, g)
	if err != nil {
		return nil, err
	}
	nothing := r.actions.find(nextbest.DoNothing)
	always := make([]int32, len(r.req.Fixed))
	for i, a := range r.req.Fixed {
		always[i] = r.actions.find(a)
	}
	tried := s.tried(len(r.actions.names))
	forks, parallel := forkAll(r.req.Candidates)
	ls := [lanes]*lane{
		newLane(r.req, r.req.Candidates, g, model, best, nothing, always, tried, s.first),
		newLane(r.req, forks, g, model, best, nothing, always, tried, s.first),
	}
	if s.rows == 0 {
		return ls[0], nil
	}
	for _, l := range ls {
		r.furnish(l, s, g)
	}
	var open [lanes]string
	known := len(r.actions.names)
	r.final = true
	err = r.pass(ctx, needContexts(r.req.Candidates, s.schemas()) || ls[0].segmenter.nested(), parallel, func(b *nextbest.Batch) error {
		if len(r.actions.names) != known || b.Width > 0 && model.width == 0 {
			return nextbest.Errorf(nextbest.Conflict, "the log changed while it was read: set the query's position (upto) and run again")
		}
		return nil
	}, func(k int, b *nextbest.Batch) error {
		l := ls[k]
		for i, mine := range r.laneOf {
			if int(mine) != k {
				continue
			}
			if c := b.Customer[i]; c != open[k] {
				l.open(c)
				open[k] = c
			}
			if p := b.Propensity[i]; p != p {
				continue // counted by the first pass; the report refuses
			}
			if err := l.row(b, i, int(r.foldOf[i]), r.part(i, b, s), r.actions.local); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, l := range ls {
		l.closeCustomer()
	}
	for _, l := range ls[1:] {
		ls[0].merge(l)
	}
	return ls[0], nil
}

// needsContexts reports whether the passes after the first need contexts whatever
// schemas the rows' features are in: the first then reads them for the spool.
func (r *run) needsContexts() bool {
	for _, c := range r.req.Candidates {
		if _, ok := c.(ContextFree); !ok {
			return true
		}
	}
	return newSegmenter(r.req.Segments).nested()
}

// forkAll returns copies that may run beside the candidates, or the candidates
// themselves and false.
func forkAll(candidates []Candidate) ([]Candidate, bool) {
	out := make([]Candidate, len(candidates))
	for i, c := range candidates {
		f, ok := c.(Forker)
		if !ok {
			return candidates, false
		}
		out[i] = f.Fork()
	}
	return out, true
}

// needContexts reports whether any candidate reads Batch.Contexts.
func needContexts(candidates []Candidate, features []string) bool {
	for _, c := range candidates {
		if f, ok := c.(ContextFree); !ok || !f.ContextFree(features) {
			return true
		}
	}
	return false
}

// String names the fold scheme in reports.
func (f folds) String() string {
	return fmt.Sprintf("%d folds of customers by Uniform(%q, customer)", f.n, f.salt)
}
