package offline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"nextbest"
)

// SearchRequest asks for the best of several policies.
type SearchRequest struct {
	// Request says how candidates are judged on the select part. Its query says of
	// which rows parts are made; candidates, level and looks are the search's own.
	Request
	Parts        Parts
	Combinations []Combination
	// Anyway chooses the best bound even where it does not tell its candidate from
	// what ran: the gate, which is judged for itself, then decides.
	Anyway bool
}

// Make makes the candidate of a combination, trained on the rows of a query. An
// error that is Invalid or a Conflict is that candidate's alone; it counts among
// those tried. Any other ends the search.
type Make func(ctx context.Context, c *Combination, train nextbest.Query) (Candidate, *Trained, error)

// searchChunk is how many candidates one run takes: memory holds a tally of each.
// More of them save little, for distributions cost more than reading.
const searchChunk = 20

// SearchPasses returns how often a search among so many candidates reads the
// select part.
func SearchPasses(candidates int) int64 {
	return 2 * int64((candidates+searchChunk-1)/searchChunk)
}

// Search trains every combination on the train part and compares all with what
// ran on the select part, each at its share δ/m of the error, m being all that
// were tried (STATISTICS §7). The report names the winner, or says that there is
// none; nothing has read the gate part. Its result depends on nothing but the
// request and the log.
//
// The winner is the candidate with the largest lower bound of its paired
// difference to what ran (DR) at δ/m, among those that are not refused. The bound
// and not the estimate, because the largest of many estimates belongs to the
// noisiest of them: candidates that the log can hardly speak for. Paired DR and
// not the gate's bound by betting, because choosing needs precision and no
// guarantee: that is the gate's, which holds whatever was chosen and how.
func Search(ctx context.Context, reader Reader, req SearchRequest, learn Make, progress func(done int64)) (*SearchReport, error) {
	m := len(req.Combinations)
	if m == 0 || m > MostCombinations {
		return nil, nextbest.FieldErrorf("specs", "%d candidates: a search tries 1 to %d", m, MostCombinations)
	}
	if err := req.Parts.Check(req.Query.Objective.Window); err != nil {
		return nil, err
	}
	if req.Delta == 0 {
		req.Delta = 0.05
	}
	each := req.Delta / float64(m)
	s := &searching{reader: reader, req: &req, each: each, report: newSearchReport(&req, each), progress: progress}
	if err := s.train(ctx, learn); err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(s.made, searchChunk) {
		if err := s.run(ctx, chunk); err != nil {
			return nil, err
		}
	}
	s.report.choose(req.Anyway)
	return s.report, nil
}

type searching struct {
	reader   Reader
	req      *SearchRequest
	each     float64
	report   *SearchReport
	made     []*guarded
	progress func(int64)
	done     int64 // rows read by the runs that are over
}

// train makes every candidate.
func (s *searching) train(ctx context.Context, learn Make) error {
	q := s.req.Parts.Train.Of(s.req.Query)
	for i := range s.req.Combinations {
		c := &s.req.Combinations[i]
		candidate, trained, err := learn(ctx, c, q)
		tried := Tried{Name: c.Name, Of: c.Of, Params: c.Params, Policy: c.Document, Trained: trained}
		switch code := nextbest.CodeOf(err); {
		case err == nil:
			s.made = append(s.made, &guarded{Candidate: candidate, name: c.Name, at: i})
		case ctx.Err() == nil && (code == nextbest.Invalid || code == nextbest.Conflict):
			tried.Problem = err.Error()
		default:
			return err
		}
		s.report.Candidates = append(s.report.Candidates, tried)
	}
	return nil
}

// run judges some candidates on the select part.
func (s *searching) run(ctx context.Context, some []*guarded) error {
	req := s.req.Request
	req.Query = s.req.Parts.Select.Of(s.req.Query)
	// The lower end of a two-sided interval at 1 − 2δ/m is a bound at δ/m.
	req.Level, req.Delta = 1-2*s.each, s.each*float64(len(some))
	req.Looks, req.Training, req.TrainedOn = nil, nil, []Period{s.req.Parts.Train.Period()}
	req.Candidates = nil
	for _, g := range some {
		req.Candidates = append(req.Candidates, g.candidate())
	}
	var last int64
	report, err := Run(ctx, s.reader, req, func(done int64) {
		last = done
		if s.progress != nil {
			s.progress(s.done + done)
		}
	})
	if err != nil {
		return err
	}
	s.done += last
	if s.report.Log.Rows == 0 {
		s.report.log(report)
	}
	for _, g := range some {
		r, _ := report.Result(g.name)
		t := &s.report.Candidates[g.at]
		if err := g.failed(); err != nil {
			t.Problem = err.Error()
			continue
		}
		t.take(r)
	}
	return nil
}

// guarded is a candidate whose failure on a row is its own and does not end the
// search: it then answers no further row, and is reported with what went wrong.
type guarded struct {
	Candidate
	name  string
	at    int
	err   error
	forks []*guarded
}

// Name is the combination's.
func (g *guarded) Name() string { return g.name }

// Distribution asks the candidate until it fails.
func (g *guarded) Distribution(p []float64, b *nextbest.Batch, row int) error {
	if g.err != nil {
		return silent{g.err}
	}
	err := g.Candidate.Distribution(p, b, row)
	var unanswered Unanswered
	if err == nil || errors.As(err, &unanswered) {
		return err
	}
	g.err = fmt.Errorf("decision %s: %w", b.Decision[row], err)
	return silent{g.err}
}

// candidate returns the guard as Run takes it: one of which copies may run at the
// same time where the candidate itself is.
func (g *guarded) candidate() Candidate {
	if _, ok := g.Candidate.(Forker); ok {
		return forkable{g}
	}
	return g
}

// forkable is a guard of a Forker.
type forkable struct{ *guarded }

// Fork returns a guard of a copy.
func (f forkable) Fork() Candidate {
	g := &guarded{Candidate: f.Candidate.(Forker).Fork(), name: f.name, at: f.at}
	f.forks = append(f.forks, g)
	return forkable{g}
}

// ContextFree asks the candidate.
func (g *guarded) ContextFree(features []string) bool {
	c, ok := g.Candidate.(ContextFree)
	return ok && c.ContextFree(features)
}

// failed returns the first failure, in the order of the lanes.
func (g *guarded) failed() error {
	if g.err != nil {
		return g.err
	}
	for _, f := range g.forks {
		if f.err != nil {
			return f.err
		}
	}
	return nil
}

// silent is a failure that counts as a row without an answer.
type silent struct{ error }

// Unwrap returns the failure.
func (s silent) Unwrap() error { return s.error }

// Unanswered marks it for the lane.
func (silent) Unanswered() {}
