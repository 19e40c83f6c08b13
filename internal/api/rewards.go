package api

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"nextbest"
)

// maxProblems bounds how many lines of one request are complained about.
const maxProblems = 20

// intake is what one request of rewards or impressions needs; it is pooled.
type intake struct {
	body    []byte
	scan    scanner
	rewards []nextbest.Reward
	answer  []byte
}

var intakes = sync.Pool{New: func() any { return new(intake) }}

// give returns the intake to the pool unless it grew beyond what is usual.
func (in *intake) give() {
	if cap(in.body) > 1<<20 || cap(in.rewards) > 1<<14 {
		return
	}
	clear(in.rewards[:cap(in.rewards)]) // hold no strings of the last request
	in.body, in.rewards, in.answer = in.body[:0], in.rewards[:0], in.answer[:0]
	intakes.Put(in)
}

// rewards takes reward events: one JSON document, or one event a line. The
// whole request is one journal message: 202 means that all of it is durable.
func (s *Server) rewards(c *gin.Context) {
	start := time.Now()
	h := s.metrics.hot["/v1/rewards"]
	n, err := s.takeRewards(c)
	if err != nil {
		s.fail(c, err)
	}
	s.metrics.rewards.Add(float64(n))
	h.done(c.Writer.Status(), time.Since(start))
}

func (s *Server) takeRewards(c *gin.Context) (int, error) {
	if _, err := s.allow(c, MayReport); err != nil {
		return 0, err
	}
	in := intakes.Get().(*intake)
	defer in.give()
	var err error
	if in.body, err = s.readBody(c, in.body[:0], s.o.Limits.RewardsBody, jsonType, ndjsonType); err != nil {
		return 0, err
	}
	p := rewardParser{scan: &in.scan, out: in.rewards[:0], now: s.now().UTC(), kinds: &s.kinds, pseudonyms: s.o.Pseudonyms}
	if mediaType(c.Request.Header.Get("Content-Type")) == ndjsonType {
		err = p.lines(in.body)
	} else {
		err = p.document(in.body)
	}
	in.rewards = p.out
	if err != nil {
		return 0, err
	}
	position, err := s.o.Outcomes.Rewards(c.Request.Context(), in.rewards)
	if err != nil {
		return 0, err
	}
	b := append(in.answer[:0], `{"accepted":`...)
	b = strconv.AppendInt(b, int64(len(in.rewards)), 10)
	b = append(b, `,"position":`...)
	b = strconv.AppendUint(b, position, 10)
	in.answer = append(b, "}\n"...)
	write(c, http.StatusAccepted, in.answer)
	return len(in.rewards), nil
}

// write answers with JSON.
func write(c *gin.Context, status int, body []byte) {
	h := c.Writer.Header()
	h["Content-Type"] = jsonHeader
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.Writer.WriteHeader(status)
	c.Writer.Write(body)
}

var jsonHeader = []string{"application/json"}

// rewardParser reads reward events.
type rewardParser struct {
	scan       *scanner
	out        []nextbest.Reward
	now        time.Time
	kinds      *rewardKinds
	pseudonyms Pseudonyms
	kind       string // the last one found to be known
}

// document reads {"rewards":[…]}.
func (p *rewardParser) document(body []byte) error {
	s := p.scan
	s.reset(body)
	if err := s.open('{'); err != nil {
		return asError(err)
	}
	seen := false
	for first := true; ; first = false {
		name, ok, err := s.name(first)
		if err != nil {
			return asError(err)
		}
		if !ok {
			break
		}
		if string(name) != "rewards" {
			return asError(inField(unknownField(), string(name)))
		}
		if seen {
			return asError(inField(refuse("the name appears twice"), "rewards"))
		}
		seen = true
		if err := p.list(); err != nil {
			return asError(inField(err, "rewards"))
		}
	}
	if err := s.end(); err != nil {
		return asError(err)
	}
	if len(p.out) == 0 {
		return nextbest.FieldErrorf("rewards", "must hold at least one reward")
	}
	return nil
}

func (p *rewardParser) list() error {
	if err := p.scan.open('['); err != nil {
		return err
	}
	for first := true; ; first = false {
		ok, err := p.scan.element(first)
		if err != nil || !ok {
			return err
		}
		if err := p.reward(); err != nil {
			return inIndex(err, len(p.out))
		}
	}
}

// lines reads one reward a line. Every line is read, so that the answer can
// name all that are wrong; one bad line refuses them all.
func (p *rewardParser) lines(body []byte) error {
	var problems nextbest.Problems
	code := nextbest.Invalid
	bad := 0
	for n := 1; len(body) > 0; n++ {
		line := body
		if i := bytes.IndexByte(body, '\n'); i >= 0 {
			line, body = body[:i], body[i+1:]
		} else {
			body = nil
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		p.scan.reset(line)
		err := p.reward()
		if err == nil {
			err = p.scan.end()
		}
		if err == nil {
			continue
		}
		e, ok := err.(*bodyError)
		if !ok {
			return err // nothing about this line: an engine is away
		}
		if bad++; len(problems) < maxProblems {
			problems = append(problems, nextbest.Problem{Field: at("line "+strconv.Itoa(n), e.field), Message: e.message, Cure: e.cure})
		}
		if e.malformed {
			code = Malformed
		}
	}
	if bad > 0 {
		return &nextbest.Error{Code: code, Message: fmt.Sprintf("%d bad lines; nothing was taken", bad), Problems: problems}
	}
	if len(p.out) == 0 {
		return nextbest.FieldErrorf("body", "must hold at least one line")
	}
	return nil
}

func at(line, field string) string {
	if field == "" {
		return line
	}
	return line + ": " + field
}

func unknownField() *bodyError {
	return refuse("no such field").with("take it out, or look for a spelling mistake")
}

// names of a reward, as bits.
const (
	hasID = 1 << iota
	hasKind
	hasValue
	hasTime
	hasDecision
	hasSlot
	hasCustomer
	hasWithdrawn
)

// reward reads one event and appends it.
func (p *rewardParser) reward() error {
	s := p.scan
	r := nextbest.Reward{Slot: 1}
	if err := s.open('{'); err != nil {
		return err
	}
	seen := 0
	for first := true; ; first = false {
		name, ok, err := s.name(first)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		bit, err := p.field(&r, name)
		if err != nil {
			return err
		}
		if seen&bit != 0 {
			return inField(refuse("the name appears twice"), rewardNames[bit])
		}
		seen |= bit
	}
	if err := complete(&r, seen); err != nil {
		return err
	}
	p.out = append(p.out, r)
	return nil
}

var rewardNames = map[int]string{hasID: "id", hasKind: "kind", hasValue: "value", hasTime: "time", hasDecision: "decision_id", hasSlot: "slot", hasCustomer: "customer", hasWithdrawn: "withdrawn"}

// field reads one member of an event.
func (p *rewardParser) field(r *nextbest.Reward, name []byte) (bit int, err error) {
	s := p.scan
	switch string(name) {
	case "id":
		r.ID, err = s.text(maxRewardID)
		return hasID, inField(err, "id")
	case "kind":
		b, err := s.str()
		if err == nil {
			if string(b) != p.kind {
				kind := string(b)
				if !p.kinds.known(kind) {
					return 0, inField(refuse("%s is not a reward kind of any objective or experiment", clip(b)).with("define an objective with it first, or look for a spelling mistake"), "kind")
				}
				p.kind = kind
			}
			r.Kind = p.kind
		}
		return hasKind, inField(err, "kind")
	case "value":
		r.Value, err = s.number()
		return hasValue, inField(err, "value")
	case "time":
		r.Time, err = s.time(p.now)
		return hasTime, inField(err, "time")
	case "decision_id":
		r.DecisionID, err = s.decisionID(p.now)
		return hasDecision, inField(err, "decision_id")
	case "slot":
		r.Slot, err = s.slot()
		return hasSlot, inField(err, "slot")
	case "customer":
		r.Customer, err = s.customer(p.pseudonyms)
		return hasCustomer, inField(err, "customer")
	case "withdrawn":
		r.Withdrawn, err = s.boolean()
		return hasWithdrawn, inField(err, "withdrawn")
	}
	return 0, inField(unknownField(), string(name))
}

// maxRewardID bounds the caller's id of a reward.
const maxRewardID = 200

func complete(r *nextbest.Reward, seen int) error {
	for _, bit := range []int{hasID, hasKind, hasTime} {
		if seen&bit == 0 {
			return inField(refuse("is missing"), rewardNames[bit])
		}
	}
	switch named := seen & (hasDecision | hasCustomer); {
	case named == 0:
		return inField(refuse("is missing: a reward names a decision or a customer"), "decision_id")
	case named == hasDecision|hasCustomer:
		return inField(refuse("a reward names a decision or a customer, not both").with("leave the customer out: the decision knows"), "customer")
	}
	if seen&hasValue == 0 {
		if !r.Withdrawn {
			return inField(refuse("is missing").with("send 1 for something that only happened"), "value")
		}
	}
	return nil
}
