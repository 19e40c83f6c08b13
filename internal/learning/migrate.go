package learning

import (
	"context"

	"nextbest"
	"nextbest/bandit"
)

// Migration asks for a model of one policy version with the sums of another
// version's model.
type Migration struct {
	Policy nextbest.Ref // whose model it will be
	From   Origin
	Actor  string
	Reason string
}

// Migrate publishes the model that the rows of another policy version's model
// would have given under this version's schema. It serves like any other, and as
// the base of live learning it is a warm start. Errors: NotFound; Invalid naming
// each feature whose past values the sums do not hold, or the parameters in which
// the versions differ: then train a model from the log instead.
func (t *Trainer) Migrate(ctx context.Context, r Migration) (nextbest.Record, error) {
	if r.Actor == "" {
		return nextbest.Record{}, nextbest.FieldErrorf("actor", "a migration says who asked for it")
	}
	if r.From.Policy == r.Policy {
		return nextbest.Record{}, nextbest.FieldErrorf("migrate.policy", "%s is the version that the model is wanted for; name the version that it has learned under", r.Policy)
	}
	source, parameters, err := t.parameters(ctx, r.From.Policy, r.From.Model)
	if err != nil {
		return nextbest.Record{}, err
	}
	migrated, err := t.migrated(parameters, r.From.Policy, r.Policy)
	if err != nil {
		return nextbest.Record{}, err
	}
	return t.Publish(ctx, Model{Policy: r.Policy, Placement: source.Placement, Objective: source.Objective, Trained: source.Trained, MigratedFrom: &r.From}, migrated, r.Actor, r.Reason)
}

// migrated returns a model of one policy version under another's schema, where
// that version can go on from it.
func (t *Trainer) migrated(m *bandit.Model, from, to nextbest.Ref) (*bandit.Model, error) {
	_, old, err := t.policy(from)
	if err != nil {
		return nil, err
	}
	spec, schema, err := t.policy(to)
	if err != nil {
		return nil, err
	}
	if f := spec.Forgetting; f != nil && f.Window != 0 {
		return nil, nextbest.Errorf(nextbest.Invalid, "policy %s forgets what is older than %s, which cannot be taken out of sums; train a model from the log instead", to, f.Window)
	}
	if m, err = bandit.Migrate(m, orBias(old), orBias(schema)); err != nil {
		return nil, err
	}
	_, err = bandit.ResumeLearner(spec, m)
	return m, err
}

func orBias(s *bandit.Schema) *bandit.Schema {
	if s == nil {
		return bandit.BiasAlone()
	}
	return s
}
