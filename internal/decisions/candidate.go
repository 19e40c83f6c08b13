package decisions

import (
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/bandit"
	"nextbest/internal/actions"
)

// Candidate is a policy with a model, registered or not, put before logged
// rows: what it would have done in their place. Actions are worth what they
// were worth at one revision of the definitions. It is safe for concurrent use.
type Candidate struct {
	name    string
	arm     *arm
	c       *Catalogue
	at      uint64 // revision of the definitions
	scratch sync.Pool
}

// Candidate returns a policy version with a model (0: none, or the untrained
// prior) for off-policy evaluation, with actions as they are now.
func (c *Catalogue) Candidate(policy nextbest.Ref, model uint64) (*Candidate, error) {
	return c.CandidateAt(policy, model, c.Revision)
}

// CandidateAt is Candidate with actions as they were at an earlier revision, so
// that an evaluation can be repeated.
func (c *Catalogue) CandidateAt(policy nextbest.Ref, model, revision uint64) (*Candidate, error) {
	if policy.Version == 0 {
		return nil, nextbest.FieldErrorf("policy", "%q must name a version, such as %s@1", policy, policy.ID)
	}
	key := armKey{policy, model}
	a := c.arms[key]
	if a == nil {
		var err error
		if a, err = c.newArm(key); err != nil {
			return nil, err
		}
	}
	name := policy.String()
	if model != 0 {
		name += "/" + strconv.FormatUint(model, 10)
	}
	return c.candidate(name, a, revision), nil
}

// Specified returns a policy that is not registered for off-policy evaluation,
// with actions as they were at a revision. m is its model, nil where it learns
// nothing. Actions that its rules and weights name need not exist any more.
func (c *Catalogue) Specified(name string, document []byte, m *bandit.Model, revision uint64) (*Candidate, error) {
	spec, err := compilePolicy(&nextbest.Record{Kind: nextbest.KindPolicy, ID: name, Document: document})
	if err != nil {
		return nil, err
	}
	a, err := c.bind(spec, 0, m)
	if err != nil {
		return nil, err
	}
	return c.candidate(name, a, revision), nil
}

func (c *Catalogue) candidate(name string, a *arm, revision uint64) *Candidate {
	k := &Candidate{name: name, arm: a, c: c, at: revision}
	k.scratch.New = func() any { return new(candidateScratch) }
	return k
}

type candidateScratch struct {
	replay
	row  uuid.UUID // whose contexts are decoded
	said loggedContext
}

// Name returns policy@version, policy@version/model, or the name of what is not
// registered.
func (k *Candidate) Name() string { return k.name }

// ContextFree reports whether rows need not carry their contexts when their
// features are in the given schemas (id@version): policies with rules always
// need them, as do those that decide by a call's scores and policies with another
// feature schema.
func (k *Candidate) ContextFree(features []string) bool {
	if len(k.arm.rules) > 0 || k.arm.spec.External() {
		return false
	}
	return k.arm.features.ID == "" || len(features) == 1 && features[0] == k.arm.spec.Features
}

// lacking is an error about a row that lacks what a candidate decides by; the
// candidate can be asked about others.
type lacking struct{ error }

// Unwrap returns the error.
func (l lacking) Unwrap() error { return l.error }

// Unanswered marks the error for offline, which counts such rows.
func (lacking) Unanswered() {}

// Distribution writes into p the candidate's probability of each action that
// row had eligible, in the row's order. Where the row's X is not in the
// candidate's own schema, it is encoded from the row's context. The error is
// nextbest.Invalid and names the row's decision; where the context cannot be
// encoded, it is one that offline counts.
func (k *Candidate) Distribution(p []float64, b *nextbest.Batch, row int) error {
	s := k.scratch.Get().(*candidateScratch)
	defer k.scratch.Put(s)
	eligible, _ := b.Row(row)
	s.ask(len(eligible), func(i int) string { return b.Actions[eligible[i]] }, func(name string) *actions.Compiled {
		return k.c.action(name, k.at)
	})
	fail := func(format string, args ...any) error {
		return nextbest.Errorf(nextbest.Invalid, "candidate %s on decision %s: %w", k.name, b.Decision[row], nextbest.Errorf(nextbest.Invalid, format, args...))
	}
	logged := k.arm.features.ID != "" && b.Width == k.arm.schema.Width() && row < len(b.Features) && b.Features[row] == k.arm.spec.Features
	if len(k.arm.rules) > 0 || k.arm.spec.External() || k.arm.features.ID != "" && !logged {
		if b.Contexts == nil {
			return fail("its rules, scores or schema %s need the rows' contexts, and they were not read", k.arm.features)
		}
		if s.row != b.Decision[row] || s.row == uuid.Nil {
			var err error
			if s.said, err = readContext(b.Contexts[row]); err != nil {
				return fail("%w", err)
			}
			s.row = b.Decision[row]
		}
	} else {
		s.row, s.said = uuid.UUID{}, loggedContext{}
	}
	s.situate(s.said, time.UnixMicro(b.Time[row]))
	if k.arm.spec.External() {
		if err := s.question.unscored(); err != nil {
			return lacking{fail("%w", err)}
		}
	}
	var x []float32
	switch {
	case k.arm.schema == nil:
	case logged:
		x = b.X[row*b.Width : (row+1)*b.Width]
	default:
		var err error
		if x, err = s.encode(k.arm, s.said.Context, time.UnixMicro(b.Time[row])); err != nil {
			return lacking{fail("%w", err)}
		}
	}
	if err := s.answer(k.arm, x); err != nil {
		return fail("%w", err)
	}
	copy(p, s.p)
	return nil
}
