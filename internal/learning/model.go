package learning

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"nextbest"
)

// Model is the document of kind models: one model of a policy version, where
// its parameters are and what they were learned from.
type Model struct {
	Number    uint64       `json:"-"` // the record's version
	Policy    nextbest.Ref `json:"policy"`
	Hash      string       `json:"hash"` // of the content, its name in the blob store
	Placement string       `json:"placement"`
	Objective string       `json:"objective"` // id@version
	Trained   Trained      `json:"trained"`
	// Base is the model whose rows were learned before these; 0: none.
	Base uint64 `json:"base"`
	// Features is the schema (id@version) that the parameters belong to, "" where
	// the policy names none.
	Features string `json:"features,omitempty"`
	// MigratedFrom is the model whose sums these are, under another schema; nil
	// where the parameters were learned from rows. Trained is then what that
	// model was learned from.
	MigratedFrom *Origin `json:"migrated_from,omitempty"`
	// Tuned are rows that were not learned from, and chose this model's policy
	// among others: it proves nothing on them either. Empty where nobody searched.
	Tuned []Trained `json:"tuned,omitempty"`
}

// Origin names a model of another policy version.
type Origin struct {
	Policy nextbest.Ref `json:"policy"`
	Model  uint64       `json:"model"`
}

// Trained says which rows of a placement a model was learned from: decisions
// with From ≤ time < To whose window had closed at MatureAt (W), as the log was
// at journal position Upto (P), of the customers in Split, without rows set
// aside.
type Trained struct {
	From     time.Time       `json:"from,omitzero"`
	To       time.Time       `json:"to"`
	MatureAt time.Time       `json:"mature_at"`
	Upto     uint64          `json:"upto"`
	Split    *nextbest.Split `json:"split"`
	Source   string          `json:"source,omitempty"` // live, an import's name, or "" for all
	Rows     int64           `json:"rows"`
	// SetAside counts the rows of the range that were left out because they are
	// set aside for evaluation; live models do not count them.
	SetAside int64 `json:"set_aside,omitempty"`
}

// Range is what one model, or one of those it continues, was learned from or
// chosen by.
type Range struct {
	Placement string
	Model     uint64
	Trained
}

// Current is the document of kind current: the model that learning: online
// serves for a policy version. Paused: somebody chose it, and no trainer moves on
// from it until live learning is resumed.
type Current struct {
	Model  uint64 `json:"model"`
	Paused bool   `json:"paused,omitempty"`
}

// ID returns the id under which a policy version's models and its current
// model are kept: policy.version, such as lints.3.
func ID(policy nextbest.Ref) string {
	return policy.ID + "." + strconv.FormatUint(policy.Version, 10)
}

// ParseModel decodes a record of kind models.
func ParseModel(rec nextbest.Record) (Model, error) {
	var m Model
	if err := decode(rec.Document, &m); err != nil {
		return Model{}, nextbest.Errorf(nextbest.Invalid, "model %d of %s: %w", rec.Version, rec.ID, err)
	}
	m.Number = rec.Version
	switch {
	case m.Policy.Version == 0 || ID(m.Policy) != rec.ID:
		return Model{}, nextbest.Errorf(nextbest.Invalid, "model %d of %s names the policy %q", rec.Version, rec.ID, m.Policy)
	case m.Hash == "":
		return Model{}, nextbest.Errorf(nextbest.Invalid, "model %d of %s has no hash, so its parameters cannot be found", rec.Version, rec.ID)
	case m.Base >= max(1, rec.Version):
		return Model{}, nextbest.Errorf(nextbest.Invalid, "model %d of %s cannot continue model %d", rec.Version, rec.ID, m.Base)
	case m.MigratedFrom != nil && (m.MigratedFrom.Policy.Version == 0 || m.MigratedFrom.Policy == m.Policy || m.Base != 0):
		return Model{}, nextbest.Errorf(nextbest.Invalid, "model %d of %s: a migrated model comes from another policy version and continues nothing", rec.Version, rec.ID)
	case m.Trained.Split != nil && !validSplit(m.Trained.Split):
		return Model{}, nextbest.Errorf(nextbest.Invalid, "model %d of %s: the split must have 0 ≤ from < to ≤ 1", rec.Version, rec.ID)
	}
	return m, nil
}

func parseCurrent(rec nextbest.Record) (Current, error) {
	var c Current
	if err := decode(rec.Document, &c); err != nil {
		return Current{}, nextbest.Errorf(nextbest.Invalid, "current model of %s: %w", rec.ID, err)
	}
	return c, nil
}

// decode decodes exactly one JSON value and refuses unknown fields.
func decode(document []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(document))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

func validSplit(s *nextbest.Split) bool {
	return s.From >= 0 && s.From < s.To && s.To <= 1 && !math.IsNaN(s.From) && !math.IsNaN(s.To)
}

// Lineage returns a model and those it continues, itself last.
func Lineage(defs Definitions, policy nextbest.Ref, number uint64) ([]Model, error) {
	var models []Model
	for number != 0 {
		rec, ok := defs.Version(nextbest.KindModel, ID(policy), number)
		if !ok || rec.Deleted {
			return nil, nextbest.Errorf(nextbest.NotFound, "policy %s has no model %d", policy, number)
		}
		m, err := ParseModel(rec)
		if err != nil {
			return nil, err
		}
		models = append([]Model{m}, models...)
		number = m.Base
	}
	return models, nil
}

// maxMigrations bounds how often a model's sums may have moved between
// versions, so that records that name each other end.
const maxMigrations = 64

// Ranges returns everything a model was learned from or chosen by, itself, those
// it continues and those that it was migrated from, so that an evaluation can tell
// which rows it may use.
func Ranges(defs Definitions, policy nextbest.Ref, number uint64) ([]Range, error) {
	var ranges []Range
	for range maxMigrations {
		models, err := Lineage(defs, policy, number)
		if err != nil {
			return nil, err
		}
		for _, m := range models {
			ranges = append(ranges, Range{Placement: m.Placement, Model: m.Number, Trained: m.Trained})
			for _, t := range m.Tuned {
				ranges = append(ranges, Range{Placement: m.Placement, Model: m.Number, Trained: t})
			}
		}
		if len(models) == 0 || models[0].MigratedFrom == nil {
			return ranges, nil
		}
		policy, number = models[0].MigratedFrom.Policy, models[0].MigratedFrom.Model
	}
	return nil, nextbest.Errorf(nextbest.Invalid, "model %d of %s was migrated more than %d times", number, policy, maxMigrations)
}

// after returns where a model's own rows begin so that none is learned twice:
// not before those of the models that it continues end, at the same placement.
func after(own Trained, lineage []Model, placement string) time.Time {
	from := own.From
	for _, b := range lineage {
		apart := own.Source != "" && b.Trained.Source != "" && own.Source != b.Trained.Source
		if !apart && placementID(b.Placement) == placementID(placement) {
			from = latest(from, b.Trained.To)
		}
	}
	return from
}

// Overlaps reports whether a query may select a row that the range was learned
// from. Set-aside rows are never learned from, whatever it says.
func (r Range) Overlaps(q nextbest.Query) bool {
	return placementID(r.Placement) == placementID(q.Placement) &&
		(q.To.IsZero() || r.From.Before(q.To)) &&
		(r.To.IsZero() || q.From.Before(r.To)) &&
		overlap(r.Split, q.Split)
}

// Splits returns the splits of customers that may share rows with the query,
// every customer being the split [0, 1).
func Splits(ranges []Range, q nextbest.Query) []nextbest.Split {
	var out []nextbest.Split
	for _, r := range ranges {
		switch {
		case !r.Overlaps(q):
		case r.Split == nil:
			out = append(out, nextbest.Split{To: 1})
		default:
			out = append(out, *r.Split)
		}
	}
	return out
}

// overlap reports whether two splits may share a customer: different salts
// always may, for they are independent.
func overlap(a, b *nextbest.Split) bool {
	if a == nil || b == nil || a.Salt != b.Salt {
		return true
	}
	return a.From < b.To && b.From < a.To
}

// placementID drops the version: versions of one placement share its rows.
func placementID(ref string) string {
	id, _, _ := strings.Cut(ref, "@")
	return id
}
