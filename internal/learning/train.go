package learning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"nextbest"
	"nextbest/bandit"
)

// Job is everything that a model depends on besides the log.
type Job struct {
	Policy nextbest.Ref
	Spec   bandit.Spec
	Schema *bandit.Schema // of Spec.Features; nil where the policy sees none
	// Queries select the rows, one query after the other. Each names its
	// placement and objective, W (MatureAt) and P (Upto). Rows set aside are left
	// out whatever they say.
	Queries []nextbest.Query
	// Start is a model whose sums are there before the rows; nil: none.
	Start    *bandit.Model
	Progress func(rows int64) // nil, or told after each batch how many rows are learned
}

// Outcome is what training gives.
type Outcome struct {
	Model *bandit.Model
	Rows  int64 // learned from
	// Unusable counts rows whose context does not fit the feature schema; they
	// are not learned from. Why is the first one's error.
	Unusable int64
	Why      error
}

// Train learns a model from the log. It depends on nothing but the job and the
// events up to the queries' P, so it can be repeated at any time.
func Train(ctx context.Context, log Log, job Job) (*Outcome, error) {
	s, err := newStudent(job)
	if err != nil {
		return nil, err
	}
	for _, q := range job.Queries {
		if err := s.read(ctx, log, q); err != nil {
			return nil, err
		}
	}
	return s.outcome(), nil
}

// student learns row by row.
type student struct {
	job     Job
	learner *bandit.Learner
	x       []float32

	rows, unusable int64
	why            error
}

func newStudent(job Job) (*student, error) {
	if !job.Spec.Learns() {
		return nil, nextbest.Errorf(nextbest.Invalid, "policy %s is %s, which learns nothing; train a policy that does, such as linear_thompson", job.Policy, job.Spec.Algorithm)
	}
	width := 1 // the bias alone
	if job.Schema != nil {
		width = job.Schema.Width()
	}
	learner, err := bandit.NewLearner(job.Spec, width)
	if err == nil && job.Start != nil {
		if job.Start.Width() != width {
			return nil, nextbest.Errorf(nextbest.Invalid, "policy %s has %d columns and the model that it starts from %d", job.Policy, width, job.Start.Width())
		}
		learner, err = bandit.ResumeLearner(job.Spec, job.Start)
	}
	if err != nil {
		return nil, err
	}
	return &student{job: job, learner: learner, x: make([]float32, width)}, nil
}

func (s *student) outcome() *Outcome {
	return &Outcome{Model: s.learner.Model(), Rows: s.rows, Unusable: s.unusable, Why: s.why}
}

// read learns the rows that q selects.
func (s *student) read(ctx context.Context, log Log, q nextbest.Query) error {
	if q.MatureAt.IsZero() || q.Upto == 0 {
		return nextbest.Errorf(nextbest.Invalid, "training needs the time W up to which rewards have matured and the journal position P up to which events count, or it could not be repeated")
	}
	if q.Split != nil && !validSplit(q.Split) {
		return nextbest.FieldErrorf("split", "must have 0 ≤ from < to ≤ 1")
	}
	q.SkipSetAside = true
	q.Contexts, q.Schema = s.job.Schema != nil, s.job.Spec.Features
	s.learner.Age(q.MatureAt)
	return log.Rows(ctx, q, func(b *nextbest.Batch) error {
		for i := range b.N() {
			if err := s.row(b, i); err != nil {
				return err
			}
		}
		if s.job.Progress != nil {
			s.job.Progress(s.rows)
		}
		return ctx.Err()
	})
}

// row learns row i of a batch.
func (s *student) row(b *nextbest.Batch, i int) error {
	eligible, _ := b.Row(i)
	if c := b.Chosen[i]; c < 0 || c >= len(eligible) {
		return nextbest.Errorf(nextbest.Internal, "decision %s: its action is not among its %d eligible actions, so the row cannot be learned from", b.Decision[i], len(eligible))
	}
	reward := b.Reward[i]
	if math.IsNaN(reward) || math.IsInf(reward, 0) {
		return nextbest.Errorf(nextbest.Internal, "decision %s: its reward is %v", b.Decision[i], reward)
	}
	x, err := s.features(b, i)
	if err == nil {
		err = s.learner.LearnAt(b.Actions[eligible[b.Chosen[i]]], x, reward, time.UnixMicro(b.Time[i]))
	}
	if err == nil {
		s.rows++
	} else if s.unusable++; s.why == nil {
		s.why = fmt.Errorf("decision %s: %w", b.Decision[i], err)
	}
	return nil
}

// features returns x of row i: as logged where the row carries it in the same
// schema, and otherwise encoded from the context as a decision would have done.
func (s *student) features(b *nextbest.Batch, i int) ([]float32, error) {
	if s.job.Schema == nil {
		s.x[0] = 1
		return s.x, nil
	}
	width := len(s.x)
	if b.Width == width && i < len(b.Features) && b.Features[i] == s.job.Spec.Features {
		if x := b.X[i*width : (i+1)*width]; finite(x) {
			return x, nil
		}
	}
	if i >= len(b.Contexts) || len(b.Contexts[i]) == 0 {
		return nil, errors.New("it has neither features of this policy's schema nor a context")
	}
	var logged struct {
		Context map[string]any `json:"context"`
	}
	if err := json.Unmarshal(b.Contexts[i], &logged); err != nil {
		return nil, fmt.Errorf("its context is not JSON: %w", err)
	}
	if err := s.job.Schema.Encode(s.x, logged.Context, time.UnixMicro(b.Time[i])); err != nil {
		return nil, err
	}
	return s.x, nil
}

func finite(x []float32) bool {
	for _, v := range x {
		if v-v != 0 { // NaN or infinite
			return false
		}
	}
	return true
}

// MatureBefore returns the first time of decision whose window has not closed
// at w, for decisions with time + window ≤ w are mature and times are whole
// microseconds.
func MatureBefore(w time.Time, window nextbest.Duration) time.Time {
	return w.Add(time.Microsecond - window.Std())
}
