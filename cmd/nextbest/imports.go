package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"nextbest"
	"nextbest/internal/api"
	"nextbest/internal/decisions"
)

// importer turns a log that somebody else kept into decisions and rewards of
// ours. One import at a time: what another has recorded must be seen.
type importer struct {
	p    *platform
	turn *sync.Mutex
}

// importChunk is how many decisions go to the journal at once.
const importChunk = 2000

// Import records the rows. Ids are made from the import's name and the row's
// own id (or line), so that the same import sent again changes nothing, and a
// row under the id of another is refused (nextbest.Conflict). All rows are
// checked before the first is recorded; if an engine goes away in the middle,
// sending the import again completes it.
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
	rows := make([]nextbest.Decision, 0, len(in.Rows))
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
		rows = append(rows, d)
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
	m.turn.Lock()
	defer m.turn.Unlock()
	if err := m.unchanged(ctx, in, rows); err != nil {
		return api.Imported{}, err
	}
	out.Rewards = len(rewards)
	for chunk := range slices.Chunk(rows, importChunk) {
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
	raw, err := decisions.LogContext(row.Context, row.Attributes)
	if err != nil {
		return nextbest.Decision{}, nextbest.FieldErrorf(fmt.Sprintf("line %d", row.Line), "%v", err)
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
	d.Body = importedBody(&d, row.Rewards)
	return d, nil
}

// unchanged refuses rows that were imported under the same ids with other
// contents: the log would keep the first and drop these without a word.
func (m importer) unchanged(ctx context.Context, in api.Import, made []nextbest.Decision) error {
	if _, err := m.p.catchUp(ctx, mostRequest); err != nil {
		return err
	}
	// An id is a time and a hash of the row's own id; the hash alone finds the
	// row, whatever its time.
	place := make(map[[10]byte]int, len(made))
	for i := range made {
		place[[10]byte(made[i].ID[6:])] = i
	}
	var changed []int
	err := m.p.store.Imported(ctx, in.Name, func(id uuid.UUID, body string) error {
		if i, ok := place[[10]byte(id[6:])]; ok && (made[i].ID != id || made[i].Body != body) {
			changed = append(changed, i)
		}
		return nil
	})
	if err != nil || len(changed) == 0 {
		return err
	}
	slices.Sort(changed)
	refusal := nextbest.Errorf(nextbest.Conflict, "%d of %d rows were imported before as %s with another content; nothing was imported", len(changed), len(made), in.Name)
	for _, i := range changed[:min(len(changed), 20)] {
		row := &in.Rows[i]
		p := nextbest.Problem{Field: fmt.Sprintf("line %d.id", row.Line), Message: fmt.Sprintf("%q is in the log already, with another content", row.ID),
			Cure: "send the row as it was; a reward is corrected with POST /v1/rewards under its id; other rows need ids or an import name of their own"}
		if row.ID == "" {
			p.Field, p.Message = fmt.Sprintf("line %d", row.Line), "this line of the import is in the log already, with another content"
			p.Cure = "give rows ids where an import comes in parts, or choose another name"
		}
		refusal.Problems = append(refusal.Problems, p)
	}
	return refusal
}

// importedBody is a hash of everything that a row says: customer, what was
// known, what was done and how probably, and what followed. The versions of
// definitions are left out, for they may move between two sendings.
func importedBody(d *nextbest.Decision, rewards []api.ImportReward) string {
	placement, _, _ := strings.Cut(d.Placement, "@")
	h := sha256.New()
	text := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }
	number := func(v float64) { fmt.Fprintf(h, "%x,", math.Float64bits(v)) }
	for _, s := range []string{placement, d.Customer, string(d.Context), d.Action} {
		text(s)
	}
	fmt.Fprintf(h, "%d,", d.Time.UnixMicro())
	number(d.Propensity)
	number(d.Floor)
	fmt.Fprintf(h, "%d,", len(d.Eligible))
	for i, a := range d.Eligible {
		text(a)
		number(d.Probabilities[i])
	}
	for _, r := range rewards {
		text(r.ID)
		text(r.Kind)
		number(r.Value)
		fmt.Fprintf(h, "%d,", r.Time.UnixMicro())
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
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
