package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/internal/api"
)

// importer turns a log that somebody else kept into decisions and rewards of
// ours.
type importer struct{ p *platform }

// importChunk is how many decisions go to the journal at once.
const importChunk = 2000

// Import records the rows. Ids are made from the import's name and the row's
// own id (or line), so that the same import sent again changes nothing. All
// rows are checked before the first is recorded; if an engine goes away in the
// middle, sending the import again completes it.
func (m importer) Import(ctx context.Context, in api.Import) (api.Imported, error) {
	catalogue := m.p.definitions.Catalogue()
	ref, err := nextbest.ParseRef(in.Placement)
	if err != nil {
		return api.Imported{}, nextbest.FieldErrorf("placement", "%v", err)
	}
	placement, err := catalogue.Placement(ref)
	if err != nil {
		return api.Imported{}, err
	}
	rec, ok := m.p.definitions.Get(nextbest.KindPlacement, ref.ID)
	if !ok {
		return api.Imported{}, nextbest.Errorf(nextbest.NotFound, "there is no placement %q", ref.ID)
	}
	out := api.Imported{Name: in.Name, Rows: len(in.Rows), From: in.Rows[0].Time, To: in.Rows[0].Time}
	decisions := make([]nextbest.Decision, 0, len(in.Rows))
	var rewards []nextbest.Reward
	var problems nextbest.Problems
	for i := range in.Rows {
		row := &in.Rows[i]
		for j, a := range row.Eligible {
			if a != nextbest.DoNothing && !slices.Contains(placement.Actions, a) {
				problems.Add(fmt.Sprintf("line %d.eligible[%d]", row.Line, j), "%q is not an action of placement %s", a, ref.ID)
			}
		}
		if len(problems) > 20 {
			break
		}
		d, err := m.decision(in, row, rec.Ref().String(), placement.Objective.String(), catalogue.Revision)
		if err != nil {
			return api.Imported{}, err
		}
		decisions = append(decisions, d)
		for k, r := range row.Rewards {
			id := r.ID
			if id == "" {
				id = d.ID.String() + "/" + strconv.Itoa(k)
			}
			rewards = append(rewards, nextbest.Reward{ID: id, Kind: r.Kind, Value: r.Value, Time: r.Time, DecisionID: d.ID, Slot: 1})
		}
		out.From, out.To = earlier(out.From, row.Time), later(out.To, row.Time)
	}
	if err := problems.Err("the import"); err != nil {
		return api.Imported{}, err
	}
	out.Rewards = len(rewards)
	for chunk := range slices.Chunk(decisions, importChunk) {
		if _, err := m.p.journal.Decisions(ctx, chunk); err != nil {
			return api.Imported{}, err
		}
	}
	for chunk := range slices.Chunk(rewards, importChunk) {
		if _, err := m.p.journal.Rewards(ctx, chunk); err != nil {
			return api.Imported{}, err
		}
	}
	return out, nil
}

// decision makes the log's row. Eligible actions are put into the fixed order
// of the draw.
func (m importer) decision(in api.Import, row *api.ImportRow, placement, objective string, revision uint64) (nextbest.Decision, error) {
	key := row.ID
	if key == "" {
		key = "line " + strconv.Itoa(row.Line)
	}
	raw, err := json.Marshal(map[string]any{"context": row.Context, "customer": map[string]any{}})
	if err != nil {
		return nextbest.Decision{}, nextbest.FieldErrorf(fmt.Sprintf("line %d.context", row.Line), "%v", err)
	}
	d := nextbest.Decision{
		ID: importedID(in.Name, key, row.Time), Slot: 1, Time: row.Time.UTC(), Placement: placement, Objective: objective, Customer: row.Customer,
		Source: in.Name, Action: row.Action, Propensity: row.Propensity, Policy: "", Context: raw, Catalogue: revision,
	}
	order := make([]int, len(row.Eligible))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if row.Eligible[a] < row.Eligible[b] {
			return -1
		}
		return 1
	})
	for _, i := range order {
		d.Eligible = append(d.Eligible, row.Eligible[i])
		probability := math.NaN() // not known
		if row.Probabilities != nil {
			probability = row.Probabilities[i]
		}
		d.Probabilities = append(d.Probabilities, probability)
	}
	if in.Randomisation != "" {
		d.Floor = slices.Min(row.Probabilities)
	}
	return d, nil
}

// importedID is a UUIDv7 at the row's time whose random part is a hash of the
// import's name and the row's id.
func importedID(name, key string, at time.Time) uuid.UUID {
	sum := sha256.Sum256([]byte(name + "\x00" + key))
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16)
	copy(id[6:], sum[:10])
	id[6] = 0x70 | id[6]&0x0f
	id[8] = 0x80 | id[8]&0x3f
	return id
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
