package logging

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"nextbest"
)

const defaultBatch = 8192

// Rows streams the mature rows of a query in batches, ordered by customer and
// then by time and id. Each row carries what followed it within the window:
//
//   - a reward that names a decision belongs to it when its time lies in
//     [decision, decision + window);
//   - a reward that names a customer belongs to the customer's latest decision
//     at that placement at or before the reward's time, whether or not the query
//     selects that decision, when its time lies within the window.
//
// ClickHouse reads, filters and sorts (on disk where it must): decisions in one
// stream, rewards in another in the same order. Here the two are merged, so that
// memory holds one batch and the rewards of one customer. The view
// attributed_rewards gives the same attribution to people who write SQL.
//
// A batch belongs to fn until fn returns an error or forever: nothing is used
// again. A batch's rows have one width of features; where a log changes width, a
// batch ends early. An error of fn ends the stream and is returned as it is.
func (s *Store) Rows(ctx context.Context, q nextbest.Query, fn func(*nextbest.Batch) error) error {
	plan, err := planRows(q, time.Now())
	if err != nil {
		return err
	}
	return s.rows(ctx, plan, fn)
}

// rows runs a plan.
func (s *Store) rows(ctx context.Context, plan *rowPlan, fn func(*nextbest.Batch) error) error {
	ctx, cancel := context.WithCancel(ctx)
	rewards := newRewardStream()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		rewards.run(ctx, s, plan.rewards())
	}()
	defer func() { // the reward stream uses no connection when Rows has returned
		cancel()
		<-ended
	}()

	out := newRelay(ctx, cancel, fn)
	in := newRowColumns(plan.contexts)
	m := &rowMerge{plan: plan, in: in, rewards: rewards, emit: out.send, signatures: make(map[string]*signature), dictionary: make(map[string]uint32)}
	err := s.bulk(ctx, ch.Query{
		Body: plan.decisions(), Result: in.results, Settings: readSettings(plan.batch, 512<<20),
		OnResult: func(context.Context, proto.Block) error {
			m.err = m.block()
			return m.err
		},
	})
	if m.err == nil && err == nil {
		m.err = m.finish()
	}
	if e := out.close(); e != nil {
		return e
	}
	if m.err != nil {
		return m.err
	}
	if err != nil {
		return storeError("read rows", err)
	}
	return nil
}

// readSettings are the settings of a long sorted read: blocks of so many rows;
// sorts that go to disk beyond so many bytes (half of them on each thread), joins
// likewise, with the side in memory that the query names second; a thread for each
// core where there is memory for its part of the sort (by default ClickHouse wants
// a whole GiB free for each, and an engine of 2 GiB sorts on one core); functions
// before the sort (they make the rows smaller); and patience with a reader that
// thinks between two blocks. A server that does not know one of them passes over
// it.
func readSettings(block, sort int) []ch.Setting {
	return []ch.Setting{
		{Key: "max_block_size", Value: strconv.Itoa(block)},
		{Key: "max_bytes_before_external_sort", Value: strconv.Itoa(sort / 2)},
		{Key: "max_threads_min_free_memory_per_thread", Value: strconv.Itoa(sort * 3 / 4)},
		{Key: "max_bytes_before_external_group_by", Value: strconv.Itoa(256 << 20)},
		{Key: "join_algorithm", Value: "grace_hash"},
		{Key: "max_bytes_in_join", Value: strconv.Itoa(192 << 20)},
		{Key: "query_plan_join_swap_table", Value: "false"},
		{Key: "query_plan_execute_functions_after_sorting", Value: "0"},
		{Key: "send_timeout", Value: strconv.Itoa(6 * 3600)},
		{Key: "receive_timeout", Value: strconv.Itoa(6 * 3600)},
		{Key: "max_execution_time", Value: "0"},
	}
}

// rowPlan is a Query made ready: bounds in microseconds, weights by kind.
type rowPlan struct {
	query       nextbest.Query
	placement   nextbest.Ref
	from, to    int64 // of the selected decisions' time, from ≤ t < to
	window      int64
	kinds       []string  // distinct
	weights     []float64 // beside kinds
	aggregation string
	batch       int
	contexts    bool
	narrow      bool // rows without eligible actions and features
}

// planRows checks a query. now stands in for a MatureAt that is zero.
func planRows(q nextbest.Query, now time.Time) (*rowPlan, error) {
	var problems nextbest.Problems
	p := &rowPlan{query: q, batch: q.BatchSize, contexts: q.Contexts, aggregation: q.Objective.Aggregation, from: math.MinInt64}
	var err error
	if p.placement, err = nextbest.ParseRef(q.Placement); err != nil {
		problems.Add("placement", "%v", err)
	}
	if p.window = q.Objective.Window.Std().Microseconds(); p.window <= 0 {
		problems.Add("objective.window", "%s; it must be longer than zero, such as 14d", q.Objective.Window)
	}
	if len(q.Objective.Terms) == 0 {
		problems.Add("objective.terms", "there is none; name at least one reward kind with its weight")
	}
	for i, t := range q.Objective.Terms {
		if t.Reward == "" || math.IsNaN(t.Weight) || math.IsInf(t.Weight, 0) {
			problems.Add(fmt.Sprintf("objective.terms[%d]", i), "reward %q with weight %v; name a kind and give a finite weight", t.Reward, t.Weight)
		}
		if k := slices.Index(p.kinds, t.Reward); k >= 0 {
			p.weights[k] += t.Weight
			continue
		}
		p.kinds, p.weights = append(p.kinds, t.Reward), append(p.weights, t.Weight)
	}
	switch p.aggregation {
	case "":
		p.aggregation = "sum"
	case "sum", "first", "last", "max":
	default:
		problems.Add("objective.aggregation", "%q; take sum, first, last or max", p.aggregation)
	}
	mature := q.MatureAt
	if mature.IsZero() {
		mature = now
	}
	p.to = mature.UnixMicro() - p.window + 1 // time + window ≤ MatureAt
	if !q.From.IsZero() {
		p.from = q.From.UnixMicro()
	}
	if !q.To.IsZero() {
		p.to = min(p.to, q.To.UnixMicro())
		if !q.From.Before(q.To) {
			problems.Add("to", "%s is not after from, %s", q.To.Format(time.RFC3339Nano), q.From.Format(time.RFC3339Nano))
		}
	}
	if s := q.Split; s != nil && !(0 <= s.From && s.From < s.To && s.To <= 1) {
		problems.Add("split", "from %v to %v; 0 ≤ from < to ≤ 1 must hold", s.From, s.To)
	}
	if p.batch == 0 {
		p.batch = defaultBatch
	}
	if p.batch < 1 || p.batch > 1<<20 {
		problems.Add("batch_size", "%d; take 1 to %d rows", p.batch, 1<<20)
	}
	return p, problems.Err("the query")
}

// signatureSQL packs what repeats from row to row beside the eligible actions
// (policy, features, experiment, arm, all arms and their shares) into one string:
// the lengths in bytes, a colon, the texts. Shares are one text, of their bits as
// whole numbers: exact, and quick to write. One string sorts faster than
// dictionary columns, and is looked up once.
const signatureSQL = "concat(arrayStringConcat(arrayConcat([length(policy), length(features), length(experiment), length(arm)], arrayMap(a -> length(a), `arms.arm`), [length(" + armSharesSQL + ")]), ','), ':', " +
	"policy, features, experiment, arm, arrayStringConcat(`arms.arm`), " + armSharesSQL + ")"

// decisions returns the query of the decisions at the placement, all of them
// that a reward might belong to; "selected" marks those the caller asked for,
// and the others come without their long columns.
func (p *rowPlan) decisions() string {
	eligible, chances, x, context := "eligible", "if(selected, probabilities, [])", "if(selected, x, [])", ""
	if p.narrow {
		eligible, chances, x = "CAST([], 'Array(LowCardinality(String))')", "CAST([], 'Array(Float64)')", "CAST([], 'Array(Float32)')"
	}
	if p.contexts {
		needed := "selected"
		if p.query.Schema != "" {
			needed += " AND (empty(x) OR features != " + quote(p.query.Schema) + ")"
		}
		context = ", if(" + needed + ", context, '') AS context_text"
	}
	return `WITH toUInt8(` + all(p.selected()) + `) AS selected
SELECT customer, time, decision_id, slot, selected,
    if(selected, ` + signatureSQL + `, '') AS signature,
    ` + eligible + ` AS eligible_actions,
    toUInt32(indexOf(` + eligible + `, action)) AS chosen,
    ` + chances + ` AS chances,
    ` + p.propensity() + ` AS mixture_propensity, ` + p.floor() + ` AS floor,
    ` + x + ` AS features_x` + context + `
FROM decisions
WHERE ` + all(p.base(p.to+p.window)) + `
ORDER BY customer, time, toUInt128(decision_id), slot`
}

// rewards returns the query of the rewards that may count, with the customers
// they belong to, in the order of decisions. Their own order decides which of a
// kind is first and last.
func (p *rowPlan) rewards() string {
	view := "rewards"
	if p.query.Upto > 0 {
		view = fmt.Sprintf("rewards_as_of(position = %d)", p.query.Upto)
	}
	kinds := make([]string, len(p.kinds))
	for i, k := range p.kinds {
		kinds[i] = quote(k)
	}
	list := "[" + strings.Join(kinds, ", ") + "]"
	used := append([]string{"kind IN " + list}, timeRange(p.from, p.to+p.window)...)
	return `WITH used AS
(
    SELECT reward_id, toUInt32(indexOf(` + list + `, kind)) AS place, value, time, decision_id, slot, customer
    FROM ` + view + `
    WHERE ` + all(used) + `
)
SELECT customer, time, reward_id, place, value, decision_id, slot
FROM
(
    SELECT customer, time, reward_id, place, value, decision_id, slot
    FROM used
    WHERE ` + all(append([]string{"decision_id = " + noDecision, "customer != ''"}, p.split()...)) + `
    UNION ALL
    SELECT d.customer AS customer, r.time AS time, r.reward_id AS reward_id, r.place AS place, r.value AS value, r.decision_id AS decision_id, r.slot AS slot
    FROM (SELECT decision_id, slot, customer FROM decisions WHERE ` + all(p.base(p.to)) + `) AS d
    INNER JOIN (SELECT reward_id, place, value, time, decision_id, slot FROM used WHERE decision_id != ` + noDecision + `) AS r
        ON d.decision_id = r.decision_id AND d.slot = r.slot
)
ORDER BY customer, time, reward_id`
}

// base are the conditions of the decisions that rewards are attributed among.
func (p *rowPlan) base(to int64) []string {
	conditions := append([]string{"placement_id = " + quote(p.placement.ID)}, timeRange(p.from, to)...)
	if p.query.Upto > 0 {
		conditions = append(conditions, fmt.Sprintf("journal_position <= %d", p.query.Upto))
	}
	return append(conditions, p.split()...)
}

// selected are the conditions of the rows that the caller asked for, beyond
// base.
func (p *rowPlan) selected() []string {
	conditions := []string{"time < " + instant(p.to)}
	if p.placement.Version != 0 {
		conditions = append(conditions, "placement = "+quote(p.placement.String()))
	}
	if p.query.Source != "" {
		conditions = append(conditions, "source = "+quote(p.query.Source))
	}
	if e := p.query.Experiment; e != "" {
		conditions = append(conditions, experimentIs(e))
	}
	if len(p.query.Arms) > 0 {
		conditions = append(conditions, "arm IN ("+quoteAll(p.query.Arms)+")")
	}
	if p.query.SkipHeld {
		conditions = append(conditions, "arm != 'holdout'")
	}
	if p.query.SkipSetAside {
		conditions = append(conditions, "NOT set_aside")
	}
	return conditions
}

// propensity is the serving arm's own probability of the action where the query
// wants that, and otherwise the mixture's over the arms that it selects.
// A row that was selected because of its arm could not have come from another:
// the mixture of all arms would then be too low for what the others never do,
// and too high for what they do (a holdout of a tenth: weights that average to
// 1.09 where an experiment is selected).
func (p *rowPlan) propensity() string {
	if p.query.Own {
		return "decisions.propensity"
	}
	of := p.arms()
	if of == "" {
		return "decisions.mixture_propensity"
	}
	return "if(empty(`arms.arm`), decisions.propensity, " +
		"arraySum((a, s, p) -> if(" + of + ", s * p, 0), `arms.arm`, `arms.share`, `arms.probability`) / " +
		"arraySum((a, s) -> if(" + of + ", s, 0), `arms.arm`, `arms.share`))"
}

// floor is the declared one of the same arms: without arms, or with all of them,
// what was logged for the row.
func (p *rowPlan) floor() string {
	of := p.arms()
	switch {
	case p.query.Own:
		return "if(empty(`arms.arm`), decisions.floor, arraySum((a, f) -> if(a = decisions.arm, f, 0), `arms.arm`, `arms.floor`))"
	case of == "":
		return "decisions.floor"
	}
	return "if(empty(`arms.arm`), decisions.floor, " +
		"arraySum((a, s, f) -> if(" + of + ", s * f, 0), `arms.arm`, `arms.share`, `arms.floor`) / " +
		"arraySum((a, s) -> if(" + of + ", s, 0), `arms.arm`, `arms.share`))"
}

// arms is the condition on an arm's name a that the query sets, "" for none. No
// row of an experiment is the holdout's.
func (p *rowPlan) arms() string {
	switch {
	case len(p.query.Arms) > 0:
		return "a IN (" + quoteAll(p.query.Arms) + ")"
	case p.query.SkipHeld || p.query.Experiment != "":
		return "a != 'holdout'"
	}
	return ""
}

// split is nextbest.Split in SQL. Uniform is n / 2⁵³ for a whole number n, so
// that the comparison is one of whole numbers: From ≤ n/2⁵³ < To.
func (p *rowPlan) split() []string {
	s := p.query.Split
	if s == nil {
		return nil
	}
	n := `bitShiftRight(reinterpretAsUInt64(reverse(substring(SHA256(concat(` + quote(s.Salt) + `, '\0', customer)), 1, 8))), 11)`
	return []string{
		n + " >= " + strconv.FormatUint(uint64(math.Ceil(s.From*(1<<53))), 10),
		n + " < " + strconv.FormatUint(uint64(math.Ceil(s.To*(1<<53))), 10),
	}
}

// experimentIs selects an experiment by id, or by id@version.
func experimentIs(e string) string {
	if strings.Contains(e, "@") {
		return "experiment = " + quote(e)
	}
	return "experiment_id = " + quote(e)
}

// noDecision is the decision id of a reward that names a customer.
const noDecision = "toUUID('00000000-0000-0000-0000-000000000000')"

// timeRange is from ≤ time < to, in microseconds since the Unix epoch.
func timeRange(from, to int64) []string {
	var conditions []string
	if from != math.MinInt64 {
		conditions = append(conditions, "time >= "+instant(from))
	}
	return append(conditions, "time < "+instant(to))
}

// instant is a moment in SQL.
func instant(micros int64) string {
	return fmt.Sprintf("fromUnixTimestamp64Micro(toInt64(%d), 'UTC')", micros)
}

// all joins conditions with AND.
func all(conditions []string) string {
	if len(conditions) == 0 {
		return "1"
	}
	return strings.Join(conditions, " AND ")
}

var quoter = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`)

// quote makes a text a string in SQL.
func quote(text string) string { return "'" + quoter.Replace(text) + "'" }

func quoteAll(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = quote(t)
	}
	return strings.Join(quoted, ", ")
}

// parseSignature takes signatureSQL's string apart.
func parseSignature(text string) (*signature, error) {
	header, rest, ok := strings.Cut(text, ":")
	if !ok {
		return nil, errors.New("no lengths")
	}
	var texts []string
	for _, h := range strings.Split(header, ",") {
		n, err := strconv.Atoi(h)
		if err != nil || n < 0 || n > len(rest) {
			return nil, fmt.Errorf("length %q", h)
		}
		texts, rest = append(texts, rest[:n]), rest[n:]
	}
	shares, texts, err := parseArmShares(texts)
	if err != nil || len(texts) != 4 || rest != "" {
		return nil, errors.Join(err, errors.New("too short or too long"))
	}
	return &signature{policy: texts[0], features: texts[1], experiment: texts[2], arm: texts[3], shares: shares}, nil
}
