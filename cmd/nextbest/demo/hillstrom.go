package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"nextbest"
	"nextbest/cmd/nextbest/client"
	"nextbest/experiments"
	"nextbest/offline"

	"golang.org/x/sync/errgroup"
	gonum "gonum.org/v1/gonum/stat"
)

// mailCost is what one e-mail costs, in visits, where costs count.
const mailCost = 0.09

// The two placements: where the published test was logged, and where the other
// half of the customers arrive live.
const (
	placementLog  = "email-test"
	placementLive = "email-live"
)

// HillstromOptions say where the data set is.
type HillstromOptions struct {
	File string
	Seed uint64
	Live int // most customers that arrive live; the whole second half when 0
}

// hillstrom is one run over the data set.
type hillstrom struct {
	o          HillstromOptions
	rows       []mailing
	keys       keys
	screen     *screen
	result     HillstromResult
	models     map[string]uint64 // by policy
	live       map[string]*replayed
	reports    []*offline.Report // beside rewardKinds
	evaluation string            // id of the one by visits
	border     time.Time         // decisions before it are learned from, the others judged
}

// Hillstrom imports 64,000 real customers as a log with propensity 1/3, trains
// on half of them, evaluates on the other half, and replays that half live.
func Hillstrom(ctx context.Context, admin *client.Client, o HillstromOptions, out io.Writer, progress func(format string, args ...any)) (*HillstromResult, error) {
	rows, err := readHillstrom(o.File)
	if err != nil {
		return nil, err
	}
	h := &hillstrom{o: o, rows: rows, screen: &screen{out: out, progress: progress}, models: map[string]uint64{}, live: map[string]*replayed{}}
	h.result.Dataset, h.result.Rows = "hillstrom", len(rows)
	if h.keys, err = newKeys(ctx, admin, "hillstrom"); err != nil {
		return nil, err
	}
	for _, chapter := range []func(context.Context) error{h.define, h.load, h.train, h.means, h.evaluate, h.replay, h.tell, h.promote, h.verify} {
		if err := chapter(ctx); err != nil {
			return nil, err
		}
	}
	return &h.result, nil
}

// liveWindow is how long a live customer's rewards count.
const liveWindow = 4 * time.Second

// rewardKinds are the published outcomes, and visits less the mails' cost.
var rewardKinds = []string{"visit", "conversion", "spend", "net_visit"}

// candidates are the policies with the reward that they learn.
var candidates = []struct{ policy, algorithm, reward string }{
	{"linucb", "linucb", "visit"},
	{"lints", "linear_thompson", "visit"},
	{"lints-net", "linear_thompson", "net_visit"},
}

// define tells the platform what there is.
func (h *hillstrom) define(ctx context.Context) error {
	owner, analyst := h.keys.owner, h.keys.analyst
	if err := put(ctx, owner, "features", "customer", hillstromFeatures(h.rows)); err != nil {
		return err
	}
	for _, kind := range rewardKinds {
		for suffix, window := range map[string]string{"": "14d", "-live": liveWindow.String()} {
			if err := put(ctx, owner, "objectives", objectiveID(kind)+suffix, map[string]any{"terms": []map[string]any{{"reward": kind, "weight": 1}}, "window": window, "default": 0}); err != nil {
				return err
			}
		}
	}
	for _, a := range []string{"mens-email", "womens-email"} {
		if err := put(ctx, owner, "actions", a, map[string]any{"goal": "cross_sell", "owner": "crm", "treatments": []map[string]any{{"id": "a", "channel": "email", "content": "cms:" + a}}}); err != nil {
			return err
		}
	}
	specs := map[string]map[string]any{
		"always-mens": {"algorithm": "fixed", "weights": map[string]float64{"mens-email": 1}},
		"rule":        {"algorithm": "rules", "params": map[string]any{"epsilon": 0}, "rules": []map[string]any{{"when": "context.womens && !context.mens", "action": "womens-email"}, {"when": "true", "action": "mens-email"}}},
		"random":      {"algorithm": "uniform"},
	}
	for _, c := range candidates {
		specs[c.policy] = map[string]any{"algorithm": c.algorithm, "features": "customer@1"}
	}
	for id, spec := range specs {
		if err := newPolicy(ctx, analyst, id, spec); err != nil {
			return err
		}
	}
	actions := []string{"do-nothing", "mens-email", "womens-email"}
	for id, p := range map[string]map[string]any{
		placementLog:  {"objective": "visit@1", "policy": "random@1"},
		placementLive: {"objective": "visit-live@1", "policy": "always-mens@1"},
	} {
		p["channels"], p["actions"], p["impression"], p["slots"] = []string{"email"}, actions, "reported", 1
		if err := put(ctx, owner, "placements", id, p); err != nil {
			return err
		}
	}
	return nil
}

func objectiveID(kind string) string {
	if kind == "net_visit" {
		return "net-visit"
	}
	return kind
}

// customerID is the identifier of a row's customer.
func customerID(row int) string { return "H-" + strconv.Itoa(row+1) }

// load imports every row as a decision that was drawn uniformly: the half to
// learn from a month ago, the half to be judged on the day after.
func (h *hillstrom) load(ctx context.Context) error {
	month := time.Now().UTC().Add(-30 * 24 * time.Hour).Truncate(time.Second)
	h.border = month.Add(24 * time.Hour)
	const chunk = 8000
	for lo := 0; lo < len(h.rows); lo += chunk {
		var body bytes.Buffer
		enc := json.NewEncoder(&body)
		for i := lo; i < min(lo+chunk, len(h.rows)); i++ {
			m, at := &h.rows[i], month.Add(time.Duration(i)*time.Millisecond)
			if h.judged(i) {
				at = at.Add(24 * time.Hour)
			}
			var rewards []map[string]any
			for kind, value := range m.rewards(m.action) {
				rewards = append(rewards, map[string]any{"id": fmt.Sprintf("h-%d-%s", i+1, kind), "kind": kind, "value": value, "time": at.Add(24 * time.Hour)})
			}
			row := map[string]any{"id": customerID(i), "customer": customerRef{customerID(i)}, "time": at, "context": m.context, "action": m.action,
				"propensity": 1. / 3, "eligible": []string{"do-nothing", "mens-email", "womens-email"}, "rewards": rewards}
			if rewards == nil {
				delete(row, "rewards")
			}
			if err := enc.Encode(row); err != nil {
				return err
			}
		}
		if _, err := h.keys.analyst.Import(ctx, client.ImportOptions{Name: "hillstrom", Placement: placementLog, Randomisation: "uniform"}, body.Bytes()); err != nil {
			return err
		}
		h.screen.progress("importing: %d of %d customers", min(lo+chunk, len(h.rows)), len(h.rows))
	}
	h.screen.line("import", "%s real customers, each with propensity 1/3", thousands(len(h.rows)))
	return nil
}

// rewards returns what the customer gave after the action, by kind. Only the
// action that the customer really got can be asked about.
func (m *mailing) rewards(action string) map[string]float64 {
	r := map[string]float64{}
	net := 0.0
	if m.visit {
		r["visit"] = 1
		net++
	}
	if m.conversion {
		r["conversion"] = 1
	}
	if m.spend != 0 {
		r["spend"] = m.spend
	}
	if action != "do-nothing" {
		net -= mailCost
	}
	if net != 0 {
		r["net_visit"] = net
	}
	return r
}

// train learns the candidates from the first half.
func (h *hillstrom) train(ctx context.Context) error {
	for _, c := range candidates {
		h.screen.progress("training %s on half of the customers", c.policy)
		n, err := train(ctx, h.keys.analyst, c.policy, map[string]any{"placement": placementLog, "objective": objectiveID(c.reward) + "@1", "to": h.border})
		if err != nil {
			return err
		}
		h.models[c.policy] = n
	}
	return nil
}

// means reads the whole log's mean rewards back, which are published.
func (h *hillstrom) means(ctx context.Context) error {
	for kind, mean := range map[string]*float64{"visit": &h.result.LogMeans.Visit, "conversion": &h.result.LogMeans.Conversion, "spend": &h.result.LogMeans.Spend} {
		_, report, err := h.report(ctx, kind, time.Time{}, []map[string]any{{"policy": "rule@1"}})
		if err != nil {
			return err
		}
		if report.Log.Rows != int64(len(h.rows)) {
			return fmt.Errorf("the log holds %d mature rows, %d were imported", report.Log.Rows, len(h.rows))
		}
		*mean = report.Log.MeanReward
	}
	m := h.result.LogMeans
	remark := "not the published data set, whose means are .14678, .00903 and 1.05091"
	if len(h.rows) == 64000 && math.Abs(m.Visit-.14678) < 5e-6 && math.Abs(m.Conversion-.00903) < 5e-6 && math.Abs(m.Spend-1.05091) < 5e-6 {
		remark = "as published"
	}
	h.screen.line("log", "visit %.5f · conversion %.5f · spend %.5f (%s)", m.Visit, m.Conversion, m.Spend, remark)
	return nil
}

// report evaluates candidates on the imported log.
func (h *hillstrom) report(ctx context.Context, kind string, from time.Time, candidates []map[string]any) (string, *offline.Report, error) {
	request := map[string]any{"placement": placementLog, "source": "hillstrom", "objective": objectiveID(kind) + "@1", "candidates": candidates, "seed": h.o.Seed + 6}
	if !from.IsZero() {
		request["from"] = from
	}
	report := &offline.Report{}
	id, err := h.keys.analyst.Await(ctx, "evaluations", request, report, func(done int64) { h.screen.progress("evaluating %s: %d rows", kind, done) })
	return id, report, err
}

// replay sends the second half's customers to the live placement, where an
// experiment runs; the outcome is reported only where the draw agrees with
// what the customer really got (Li et al. 2011), so the means are unbiased.
func (h *hillstrom) replay(ctx context.Context) error {
	owner := h.keys.owner
	if err := put(ctx, owner, "experiments", "contextual", map[string]any{
		"placement": placementLive,
		"arms": []map[string]any{
			{"id": "always-mens", "policy": "always-mens@1", "share": 0.34, "control": true},
			{"id": "linucb", "policy": "linucb@1", "model": h.models["linucb"], "share": 0.33},
			{"id": "lints", "policy": "lints@1", "model": h.models["lints"], "share": 0.33},
		},
		"primary": map[string]any{"reward": "visit", "kind": "conversion"}, "window": liveWindow.String(), "minimum_duration": "1s", "salt": "contextual", "evaluation": h.evaluation,
	}); err != nil {
		return err
	}
	if _, err := owner.Call(ctx, http.MethodPost, "/v1/experiments/contextual/start", map[string]any{"reason": "frozen models of the other half"}, nil); err != nil {
		return err
	}
	box := &outbox{api: h.keys.channel}
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	sending, sendCtx := errgroup.WithContext(stop)
	sending.Go(func() error { return box.Run(sendCtx) })

	next := make(chan int)
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(sendCtx)
	g.Go(func() error {
		defer close(next)
		left := h.o.Live
		if left <= 0 {
			left = len(h.rows)
		}
		for i := range h.rows {
			if !h.judged(i) || left == 0 {
				continue
			}
			left--
			select {
			case next <- i:
			case <-gctx.Done():
				return gctx.Err()
			}
		}
		return nil
	})
	for range workers {
		g.Go(func() error {
			for i := range next {
				if err := h.one(gctx, i, box, &mu); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	closed := time.Now().Add(liveWindow + 1500*time.Millisecond)
	for !box.empty() || time.Now().Before(closed) {
		h.screen.progress("waiting for the attribution window of %s to close", liveWindow)
		select {
		case <-sendCtx.Done():
			return sending.Wait()
		case <-time.After(50 * time.Millisecond):
		}
	}
	cancel()
	h.result.Live.Rewards = box.reported()
	h.screen.line("live", "%s decisions, %s agreed with what really happened, %s rewards", thousands(h.result.Live.Decisions), thousands(h.result.Live.Impressions), thousands(h.result.Live.Rewards))
	return sending.Wait()
}

// judged reports whether a row's customer is in the second half: the one that
// candidates are judged on and that arrives live.
func (h *hillstrom) judged(i int) bool {
	return nextbest.Uniform("half/"+strconv.FormatUint(h.o.Seed, 10), customerID(i)) >= 0.5
}

// one customer arrives, and is told of only where the draw agrees.
func (h *hillstrom) one(ctx context.Context, i int, box *outbox, mu *sync.Mutex) error {
	m := &h.rows[i]
	var d decision
	if _, err := h.keys.channel.Call(ctx, http.MethodPost, "/v1/decisions", map[string]any{"placement": placementLive, "customer": customerRef{customerID(i)}, "context": m.context}, &d); err != nil {
		return err
	}
	agrees := d.Action == m.action
	if agrees {
		if d.Channel != "" {
			if _, err := h.keys.channel.Call(ctx, http.MethodPost, "/v1/decisions/"+d.ID+"/impression", map[string]any{"slot": 1, "status": "shown", "time": time.Now()}, nil); err != nil {
				return err
			}
		}
		now := time.Now()
		for kind, value := range m.rewards(d.Action) {
			box.add(reward{ID: d.ID + "-" + kind, Kind: kind, Value: value, Time: now, DecisionID: d.ID}, now)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	h.result.Live.Decisions++
	if n := h.result.Live.Decisions; n%500 == 0 {
		h.screen.progress("live: %d decisions", n)
	}
	if !agrees || d.Experiment == nil {
		return nil
	}
	h.result.Live.Impressions++
	r := h.live[d.Experiment.Arm]
	if r == nil {
		r = &replayed{}
		h.live[d.Experiment.Arm] = r
	}
	r.add(m)
	return nil
}

// evaluate judges every candidate on the second half, for every reward.
func (h *hillstrom) evaluate(ctx context.Context) error {
	list := []map[string]any{{"policy": "rule@1"}}
	for _, c := range candidates {
		list = append(list, map[string]any{"policy": c.policy + "@1", "model": h.models[c.policy]})
	}
	for _, kind := range rewardKinds {
		id, report, err := h.report(ctx, kind, h.border, list)
		if err != nil {
			return err
		}
		h.reports = append(h.reports, report)
		if kind == "visit" {
			h.evaluation = id
		}
	}
	return nil
}

// tell puts what was promised beside what was seen.
func (h *hillstrom) tell(context.Context) error {
	h.screen.line("offline", "%-10s %-12s %-24s %-32s %s", "reward", "policy", "DR [95%]", "live by replay", "verdict")
	for i, kind := range rewardKinds {
		for k := range h.reports[i].Results {
			row := h.row(kind, &h.reports[i].Results[k])
			h.result.Results = append(h.result.Results, row)
			h.screen.hillstrom(row)
		}
	}
	return nil
}

// promote asks for the better-looking candidate; the gates answer.
func (h *hillstrom) promote(ctx context.Context) error {
	p, err := promote(ctx, h.keys.approver, "contextual", "lints", "lints@1")
	if err != nil {
		return err
	}
	var gates struct {
		Gates []experiments.Gate `json:"gates"`
	}
	if _, err := h.keys.approver.Call(ctx, http.MethodGet, "/v1/experiments/contextual/gates?arm=lints", nil, &gates); err != nil && p.Status != "promoted" {
		return err
	}
	h.result.Gates, h.result.Promotion = gates.Gates, p
	h.screen.promotions([]Promotion{p})
	return nil
}

// verify replays every live decision.
func (h *hillstrom) verify(ctx context.Context) error {
	if _, err := h.keys.analyst.Await(ctx, "verifications", map[string]any{"placement": placementLive}, &h.result.Verify, func(done int64) { h.screen.progress("replaying: %d decisions", done) }); err != nil {
		return err
	}
	h.screen.verify(h.result.Verify)
	if v := h.result.Verify; v.Checked != v.Identical {
		return fmt.Errorf("%d of %d decisions did not replay identically", v.Checked-v.Identical, v.Checked)
	}
	return nil
}

// stat returns mean and standard deviation.
func stat(values []float64) (mean, sd float64) { return gonum.MeanStdDev(values, nil) }
