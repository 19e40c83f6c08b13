package experiments

import (
	"nextbest"
)

// Holdout is the document holdouts/universal: customers who are left alone by
// every placement, so that the worth of it all can be measured.
type Holdout struct {
	Share float64 `json:"share"`
	Salt  string  `json:"salt"`
}

// ParseHoldout decodes and validates a holdout strictly.
func ParseHoldout(document []byte) (*Holdout, error) {
	h := &Holdout{}
	if err := decodeStrict(document, h, "holdout"); err != nil {
		return nil, err
	}
	var p nextbest.Problems
	if !(h.Share >= 0 && h.Share < 1) {
		p.Add("share", "%v must be at least 0 and below 1", h.Share)
	}
	if h.Salt == "" || len(h.Salt) > 64 {
		p.Add("salt", "must be 1 to 64 bytes")
	}
	return h, p.Err("the holdout")
}

// Holds reports whether the customer is held out. A nil holdout holds nobody,
// and a growing share never releases anyone.
func (h *Holdout) Holds(customer string) bool {
	return h != nil && nextbest.Uniform(h.Salt+"/holdout", customer) < h.Share
}

// HeldShare returns the share of customers held out, 0 for a nil holdout.
func (h *Holdout) HeldShare() float64 {
	if h == nil {
		return 0
	}
	return h.Share
}

// Assignment says where a customer belongs.
type Assignment struct {
	Held     bool // in the universal holdout, which comes first
	Enrolled bool // would be in the experiment if not held
	Arm      int  // index into Definition.Arms, -1 unless enrolled
}

// Assign places a customer (a pseudonym) by the universal holdout and by the
// placement's running experiment; either may be nil. Three independent uniform
// numbers decide, hashes of the customer under different salts at the full
// precision of 2⁻⁵³:
//
//	held     Uniform(holdout salt + "/holdout", customer) < holdout share
//	enrolled Uniform(salt + "/enrol", customer) < ramp
//	arm      the first k with Uniform(salt + "/arm", customer) < share_1 + … + share_k
//
// The arm does not depend on the ramp, so a growing ramp moves nobody. Arm and
// Enrolled are also set for the held, whose mixture needs them.
func Assign(d *Definition, h *Holdout, customer string) Assignment {
	a := Assignment{Held: h.Holds(customer), Arm: -1}
	if d == nil || nextbest.Uniform(d.Salt+"/enrol", customer) >= d.Ramp {
		return a
	}
	a.Enrolled = true
	a.Arm = len(d.Arms) - 1 // rounding of the sum falls to the last arm
	u := nextbest.Uniform(d.Salt+"/arm", customer)
	var sum float64
	for k := range d.Arms {
		if sum += d.Arms[k].Share; u < sum {
			a.Arm = k
			break
		}
	}
	return a
}
