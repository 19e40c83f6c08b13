package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"nextbest"
)

// impression takes what became of one decision: 202 means that it is durable.
func (s *Server) impression(c *gin.Context) {
	start := time.Now()
	h := s.metrics.hot["/v1/decisions/:id/impression"]
	if err := s.takeImpression(c); err != nil {
		s.fail(c, err)
	}
	h.done(c.Writer.Status(), time.Since(start))
}

func (s *Server) takeImpression(c *gin.Context) error {
	if _, err := s.allow(c, MayReport); err != nil {
		return err
	}
	now := s.now().UTC()
	id, err := parseDecisionID([]byte(c.Param("id")), now)
	if err != nil {
		return asError(inField(err, "id"))
	}
	in := intakes.Get().(*intake)
	defer in.give()
	if in.body, err = s.readBody(c, in.body[:0], s.o.Limits.DecisionBody, jsonType); err != nil {
		return err
	}
	in.scan.reset(in.body)
	i, err := in.scan.impression(now)
	if err != nil {
		return asError(err)
	}
	i.DecisionID = id
	position, err := s.o.Outcomes.Impressions(c.Request.Context(), []nextbest.Impression{i})
	if err != nil {
		return err
	}
	b := append(in.answer[:0], `{"accepted":1,"position":`...)
	b = strconv.AppendUint(b, position, 10)
	in.answer = append(b, "}\n"...)
	write(c, http.StatusAccepted, in.answer)
	return nil
}

// impression reads {"slot":1,"status":"shown","time":"…","action":"…"}; the
// slot is 1 and the time now unless the caller says otherwise.
func (s *scanner) impression(now time.Time) (nextbest.Impression, error) {
	i := nextbest.Impression{Slot: 1, Time: now}
	if err := s.open('{'); err != nil {
		return i, err
	}
	seen := map[string]bool{}
	for first := true; ; first = false {
		b, ok, err := s.name(first)
		if err != nil {
			return i, err
		}
		if !ok {
			break
		}
		name := s.intern(b)
		if seen[name] {
			return i, inField(refuse("the name appears twice"), name)
		}
		seen[name] = true
		switch name {
		case "slot":
			i.Slot, err = s.slot()
		case "status":
			b, err = s.str()
			if i.Status = nextbest.ImpressionStatus(b); err == nil && !i.Status.Valid() {
				err = refuse("%s is not a status; it is one of shown, delivered, bounced, not_shown, overridden", clip(b))
			}
		case "time":
			i.Time, err = s.time(now)
		case "action":
			i.Action, err = s.text(63)
			if err == nil && !nextbest.ValidID(i.Action) {
				err = refuse("%s is not the id of an action", clip([]byte(i.Action)))
			}
		default:
			err = unknownField()
		}
		if err != nil {
			return i, inField(err, name)
		}
	}
	switch {
	case i.Status == "":
		return i, inField(refuse("is missing").with("send shown, delivered, bounced, not_shown or overridden"), "status")
	case i.Status == nextbest.Overridden && i.Action == "":
		return i, inField(refuse("is missing: what was done instead?"), "action")
	case i.Status != nextbest.Overridden && i.Action != "":
		return i, inField(refuse("belongs to the status overridden only"), "action")
	}
	return i, s.end()
}
