package nextbest

import (
	"time"

	"github.com/google/uuid"
)

// Decision is what was selected for one slot, with everything needed to repeat
// it. It is the row of the log.
type Decision struct {
	ID        uuid.UUID // UUIDv7, minted by the server
	Slot      uint8     // 1-based
	Time      time.Time // UTC
	Placement string    // id@version
	Objective string    // id@version
	Customer  string    // pseudonym, never a raw identifier
	Source    string    // live, or the name of an import

	Action     string
	Treatment  string // empty for do-nothing
	Channel    string
	Propensity float64 // probability with which the serving policy selected Action

	// Eligible, Probabilities and Scores have one entry for each eligible
	// action, in the catalogue's fixed action order. Scores may be empty where a
	// policy has none.
	Eligible      []string
	Probabilities []float64
	Scores        []float64
	Excluded      []Exclusion

	Policy   string    // id@version of the serving policy
	Model    uint64    // 0: the policy has no model
	Features string    // id@version of the feature schema of X, or ""
	X        []float32 // encoded context, exactly as scored
	Context  []byte    // canonical JSON {"context":…,"customer":…} without identifiers

	Experiment string // id@version, or "" outside experiments
	Arm        string // holdout, an arm's id, or "" outside experiments
	// Arms holds every arm this customer might have been in, the serving one
	// included, so that the mixture's propensity can be formed. Empty outside
	// experiments.
	Arms []ArmProbability
	// Floor is the least probability that the mixture can give an eligible
	// action by declaration (0: no floor): Σ_k s_k floor_k over the arms. Its
	// inverse bounds the importance weight of any candidate on this row.
	Floor     float64
	SetAside  bool   // never to be trained on
	Salt      string // names the salt of the draw
	Catalogue uint64 // revision of the definitions
	Numerics  string // architecture and numerics version of the scores
	// Key and Body identify the call for idempotency: the caller's key and a
	// hash of the request, empty where none was given.
	Key  string
	Body string
}

// ArmProbability is one arm's share of the traffic and the probability it
// gives the selected action in this context.
type ArmProbability struct {
	Arm         string
	Share       float64 // probability that a customer is in this arm
	Policy      string
	Model       uint64
	Probability float64
	// Floor is the least probability that the arm's policy gives any of the
	// row's eligible actions by declaration (0: no floor).
	Floor float64
}

// MixturePropensity returns the probability with which the platform as a whole
// selected the action: Σ_k s_k p_k(a|x) over the arms, or the serving policy's
// own where there is no experiment (Agarwal et al. 2017, arXiv 1703.06180). It
// is that only where an arm leaves no trace in what later decisions see: see
// Query.Own.
func (d *Decision) MixturePropensity() float64 {
	if len(d.Arms) == 0 {
		return d.Propensity
	}
	var p, s float64
	for _, a := range d.Arms {
		p += a.Share * a.Probability
		s += a.Share
	}
	return p / s
}

// Exclusion says why an action was not eligible.
type Exclusion struct {
	Action string `json:"action"`
	Reason Reason `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// Reason is a machine-readable cause of an exclusion.
type Reason string

// The reasons for which an action may be excluded.
const (
	ReasonLifecycle      Reason = "not_active"
	ReasonNotYetValid    Reason = "not_yet_valid"
	ReasonExpired        Reason = "expired"
	ReasonChannel        Reason = "no_treatment_for_channel"
	ReasonRule           Reason = "rule_false"
	ReasonRuleError      Reason = "rule_error"
	ReasonConsent        Reason = "no_consent"
	ReasonCap            Reason = "cap_reached"
	ReasonCoolDown       Reason = "cool_down"
	ReasonHistoryLoading Reason = "contact_history_loading"
	ReasonEarlierSlot    Reason = "earlier_slot"
)
