package api

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"nextbest/internal/decisions"
)

// Decider makes one decision; decisions.Pipeline does. It must not keep the
// call's maps, which are used again.
type Decider interface {
	Decide(ctx context.Context, call decisions.Call) (decisions.Answer, error)
}

// asking is what one decision call needs above the pipeline; it is pooled.
type asking struct {
	body       []byte
	scan       scanner
	context    map[string]any
	attributes map[string]any
	scores     map[string]float64
	answer     []byte
}

var askings = sync.Pool{New: func() any {
	return &asking{context: map[string]any{}, attributes: map[string]any{}, scores: map[string]float64{}}
}}

// maxKept bounds the maps that go back to the pool.
const maxKept = 512

func (a *asking) give() {
	if cap(a.body) > 1<<18 || cap(a.answer) > 1<<18 || len(a.context) > maxKept || len(a.attributes) > maxKept || len(a.scores) > maxKept {
		return
	}
	clear(a.context)
	clear(a.attributes)
	clear(a.scores)
	a.body, a.answer = a.body[:0], a.answer[:0]
	askings.Put(a)
}

// decide answers one decision call. The log is told at debug only.
func (s *Server) decide(c *gin.Context) {
	start := time.Now()
	if err := s.takeDecision(c); err != nil {
		s.fail(c, err)
	}
	took := time.Since(start)
	s.metrics.hot["/v1/decisions"].done(c.Writer.Status(), took)
	if ctx := c.Request.Context(); s.log.Enabled(ctx, slog.LevelDebug) {
		s.log.DebugContext(ctx, "decision", "status", c.Writer.Status(), "took", took)
	}
}

func (s *Server) takeDecision(c *gin.Context) error {
	if _, err := s.allow(c, MayDecide); err != nil {
		return err
	}
	a := askings.Get().(*asking)
	defer a.give()
	var err error
	if a.body, err = s.readBody(c, a.body[:0], s.o.Limits.DecisionBody, jsonType); err != nil {
		return err
	}
	call, err := a.call()
	if err != nil {
		return asError(err)
	}
	call.Key = c.Request.Header.Get("Idempotency-Key")
	answer, err := s.o.Decider.Decide(c.Request.Context(), call)
	if err != nil {
		return err
	}
	a.answer = appendAnswer(a.answer[:0], &answer)
	status := http.StatusCreated
	if answer.Repeated {
		status = http.StatusOK
	}
	write(c, status, a.answer)
	return nil
}

// call reads the body of a decision call.
func (a *asking) call() (decisions.Call, error) {
	s := &a.scan
	s.reset(a.body)
	call := decisions.Call{Context: a.context, Scores: a.scores, Customer: decisions.Customer{Attributes: a.attributes}}
	if err := s.open('{'); err != nil {
		return call, err
	}
	const placement, customer, context, durable, scores = 1, 2, 4, 8, 16
	seen := 0
	for first := true; ; first = false {
		name, ok, err := s.name(first)
		if err != nil {
			return call, err
		}
		if !ok {
			break
		}
		bit, field := 0, ""
		switch string(name) {
		case "placement":
			bit, field = placement, "placement"
			var b []byte
			if b, err = s.str(); err == nil {
				if call.Placement = s.intern(b); call.Placement == "" {
					err = refuse("must name a placement")
				}
			}
		case "customer":
			bit, field = customer, "customer"
			call.Customer.Type, call.Customer.ID, err = s.person(a.attributes)
		case "context":
			bit, field = context, "context"
			if len(a.context) == 0 {
				err = s.fields(a.context, 1)
			}
		case "scores":
			bit, field = scores, "scores"
			if len(a.scores) == 0 {
				err = s.numbers(a.scores)
			}
		case "durable":
			bit, field = durable, "durable"
			var b bool
			b, err = s.boolean()
			call.Relaxed = !b
		default:
			return call, inField(unknownField(), string(name))
		}
		if seen&bit != 0 {
			err = refuse("the name appears twice")
		}
		if err != nil {
			return call, inField(err, field)
		}
		seen |= bit
	}
	if seen&placement == 0 {
		return call, inField(refuse("is missing"), "placement")
	}
	if seen&customer == 0 {
		return call, inField(refuse("is missing").with(`send {"id":…}: whom is the decision about?`), "customer")
	}
	return call, s.end()
}

// appendAnswer writes the answer as encoding/json would.
func appendAnswer(b []byte, a *decisions.Answer) []byte {
	b = append(b, `{"decision_id":"`...)
	b = append(b, a.DecisionID.String()...)
	b = append(b, `",`...)
	b = appendSlot(b, &decisions.SlotAnswer{Slot: a.Slot, Action: a.Action, Treatment: a.Treatment, Channel: a.Channel,
		Propensity: a.Propensity, Probabilities: a.Probabilities, Excluded: a.Excluded})
	if e := a.Experiment; e != nil {
		b = append(b, `,"experiment":{`...)
		if e.ID != "" {
			b = append(appendField(b, `"id":`, e.ID), ',')
		}
		b = appendField(b, `"arm":`, e.Arm)
		b = append(b, `,"probability":`...)
		b = append(appendNumber(b, e.Probability), '}')
	}
	if a.Policy != "" {
		b = appendField(b, `,"policy":`, a.Policy)
	}
	if a.Model != 0 {
		b = append(b, `,"model":`...)
		b = strconv.AppendUint(b, a.Model, 10)
	}
	b = appendField(b, `,"placement":`, a.Placement)
	b = append(b, `,"time":"`...)
	b = a.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","durable":`...)
	b = strconv.AppendBool(b, a.Durable)
	if a.Repeated {
		b = append(b, `,"repeated":true`...)
	}
	if len(a.Slots) > 0 {
		b = append(b, `,"slots":[`...)
		for i := range a.Slots {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendSlot(append(b, '{'), &a.Slots[i]), '}')
		}
		b = append(b, ']')
	}
	return append(b, "}\n"...)
}

// appendSlot appends the fields of one slot.
func appendSlot(b []byte, a *decisions.SlotAnswer) []byte {
	b = append(b, `"slot":`...)
	b = strconv.AppendUint(b, uint64(a.Slot), 10)
	b = appendField(b, `,"action":`, a.Action)
	if a.Treatment != "" {
		b = appendField(b, `,"treatment":`, a.Treatment)
	}
	if a.Channel != "" {
		b = appendField(b, `,"channel":`, a.Channel)
	}
	b = append(b, `,"propensity":`...)
	b = appendNumber(b, a.Propensity)
	b = append(b, `,"probabilities":[`...)
	for i := range a.Probabilities {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendField(b, `{"action":`, a.Probabilities[i].Action)
		b = append(b, `,"probability":`...)
		b = append(appendNumber(b, a.Probabilities[i].Probability), '}')
	}
	b = append(b, `],"excluded":[`...)
	for i := range a.Excluded {
		if i > 0 {
			b = append(b, ',')
		}
		e := &a.Excluded[i]
		b = appendField(b, `{"action":`, e.Action)
		b = appendField(b, `,"reason":`, string(e.Reason))
		if e.Detail != "" {
			b = appendField(b, `,"detail":`, e.Detail)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendNumber(b []byte, v float64) []byte { return strconv.AppendFloat(b, v, 'g', -1, 64) }

// appendField appends a name, written as JSON already, and a string.
func appendField(b []byte, name, v string) []byte {
	b = append(b, name...)
	b = append(b, '"')
	start := 0
	for i := 0; i < len(v); i++ {
		if c := v[i]; c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, v[start:i]...)
		const hex = "0123456789abcdef"
		if c := v[i]; c < 0x20 {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			b = append(b, '\\', c)
		}
		start = i + 1
	}
	return append(append(b, v[start:]...), '"')
}
