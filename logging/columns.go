package logging

import (
	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"

	"nextbest"
)

// inserter gathers the rows of one table column by column for one native
// insert. The columns stand in no particular order: the insert names them.
type inserter struct {
	table string
	input proto.Input
}

func (in *inserter) add(name string, column proto.ColInput) {
	in.input = append(in.input, proto.InputColumn{Name: name, Data: column})
}

func (in *inserter) rows() int { return in.input[0].Data.Rows() }
func (in *inserter) reset()    { in.input.Reset() }

type lowCardinality = proto.ColLowCardinality[string]

func (in *inserter) low(name string) *lowCardinality {
	c := new(proto.ColStr).LowCardinality()
	in.add(name, c)
	return c
}

func (in *inserter) lows(name string) *proto.ColArr[string] {
	c := new(proto.ColStr).LowCardinality().Array()
	in.add(name, c)
	return c
}

func (in *inserter) str(name string) *proto.ColStr {
	c := new(proto.ColStr)
	in.add(name, c)
	return c
}

func (in *inserter) uuid(name string) *proto.ColUUID {
	c := new(proto.ColUUID)
	in.add(name, c)
	return c
}

func (in *inserter) time(name string) *proto.ColDateTime64 {
	c := new(proto.ColDateTime64).WithPrecision(proto.PrecisionMicro)
	in.add(name, c)
	return c
}

func (in *inserter) float(name string) *proto.ColFloat64 {
	c := new(proto.ColFloat64)
	in.add(name, c)
	return c
}

func (in *inserter) floats(name string) *proto.ColArr[float64] {
	c := new(proto.ColFloat64).Array()
	in.add(name, c)
	return c
}

func (in *inserter) uint(name string) *proto.ColUInt64 {
	c := new(proto.ColUInt64)
	in.add(name, c)
	return c
}

func (in *inserter) byte(name string) *proto.ColUInt8 {
	c := new(proto.ColUInt8)
	in.add(name, c)
	return c
}

func (in *inserter) bool(name string) *proto.ColBool {
	c := new(proto.ColBool)
	in.add(name, c)
	return c
}

// decisionColumns are the columns of decisions_raw.
type decisionColumns struct {
	inserter
	id                                                *proto.ColUUID
	slot                                              *proto.ColUInt8
	time                                              *proto.ColDateTime64
	placement, objective, source                      *lowCardinality
	action, treatment, channel                        *lowCardinality
	policy, features, experiment, arm, salt, numerics *lowCardinality
	customer, context, key, body                      *proto.ColStr
	propensity, mixture, floor                        *proto.ColFloat64
	eligible, excludedAction, excludedReason, armsArm *proto.ColArr[string]
	armsPolicy, excludedDetail                        *proto.ColArr[string]
	probabilities, scores, armsShare, armsProbability *proto.ColArr[float64]
	armsFloor                                         *proto.ColArr[float64]
	armsModel                                         *proto.ColArr[uint64]
	x                                                 *proto.ColArr[float32]
	model, catalogue, position, version               *proto.ColUInt64
	setAside                                          *proto.ColBool
	texts1, texts2, texts3                            []string // scratch of one row
	floats1, floats2, floats3                         []float64
	uints                                             []uint64
}

func newDecisionColumns() *decisionColumns {
	c := &decisionColumns{inserter: inserter{table: tableDecisions}}
	c.id = c.uuid("decision_id")
	c.slot = c.byte("slot")
	c.time = c.inserter.time("time")
	c.placement = c.low("placement")
	c.objective = c.low("objective")
	c.customer = c.str("customer")
	c.source = c.low("source")
	c.action = c.low("action")
	c.treatment = c.low("treatment")
	c.channel = c.low("channel")
	c.propensity = c.float("propensity")
	c.mixture = c.float("mixture_propensity")
	c.eligible = c.lows("eligible")
	c.probabilities = c.floats("probabilities")
	c.scores = c.floats("scores")
	c.excludedAction = c.lows("excluded.action")
	c.excludedReason = c.lows("excluded.reason")
	c.excludedDetail = new(proto.ColStr).Array()
	c.add("excluded.detail", c.excludedDetail)
	c.policy = c.low("policy")
	c.model = c.uint("model")
	c.features = c.low("features")
	c.x = new(proto.ColFloat32).Array()
	c.add("x", c.x)
	c.context = c.str("context")
	c.experiment = c.low("experiment")
	c.arm = c.low("arm")
	c.armsArm = c.lows("arms.arm")
	c.armsShare = c.floats("arms.share")
	c.armsPolicy = c.lows("arms.policy")
	c.armsModel = new(proto.ColUInt64).Array()
	c.add("arms.model", c.armsModel)
	c.armsProbability = c.floats("arms.probability")
	c.armsFloor = c.floats("arms.floor")
	c.floor = c.float("floor")
	c.setAside = c.bool("set_aside")
	c.salt = c.low("salt")
	c.catalogue = c.uint("catalogue")
	c.numerics = c.low("numerics")
	c.key = c.str("key")
	c.body = c.str("body")
	c.position = c.uint("journal_position")
	c.version = c.uint("version")
	return c
}

// append adds the decision at place item of the message at a position.
func (c *decisionColumns) append(position uint64, item int, d *nextbest.Decision) {
	c.id.Append(d.ID)
	c.slot.Append(d.Slot)
	c.time.Append(d.Time)
	c.placement.Append(d.Placement)
	c.objective.Append(d.Objective)
	c.customer.Append(d.Customer)
	c.source.Append(d.Source)
	c.action.Append(d.Action)
	c.treatment.Append(d.Treatment)
	c.channel.Append(d.Channel)
	c.propensity.Append(d.Propensity)
	c.mixture.Append(d.MixturePropensity())
	c.eligible.Append(d.Eligible)
	c.probabilities.Append(d.Probabilities)
	c.scores.Append(d.Scores)
	c.appendExcluded(d.Excluded)
	c.policy.Append(d.Policy)
	c.model.Append(d.Model)
	c.features.Append(d.Features)
	c.x.Append(d.X)
	c.context.AppendBytes(d.Context)
	c.experiment.Append(d.Experiment)
	c.arm.Append(d.Arm)
	c.appendArms(d.Arms)
	c.floor.Append(d.Floor)
	c.setAside.Append(d.SetAside)
	c.salt.Append(d.Salt)
	c.catalogue.Append(d.Catalogue)
	c.numerics.Append(d.Numerics)
	c.key.Append(d.Key)
	c.body.Append(d.Body)
	c.position.Append(position)
	c.version.Append(firstWins(position, item))
}

func (c *decisionColumns) appendExcluded(excluded []nextbest.Exclusion) {
	c.texts1, c.texts2, c.texts3 = c.texts1[:0], c.texts2[:0], c.texts3[:0]
	for i := range excluded {
		c.texts1 = append(c.texts1, excluded[i].Action)
		c.texts2 = append(c.texts2, string(excluded[i].Reason))
		c.texts3 = append(c.texts3, excluded[i].Detail)
	}
	c.excludedAction.Append(c.texts1)
	c.excludedReason.Append(c.texts2)
	c.excludedDetail.Append(c.texts3)
}

func (c *decisionColumns) appendArms(arms []nextbest.ArmProbability) {
	c.texts1, c.texts2 = c.texts1[:0], c.texts2[:0]
	c.floats1, c.floats2, c.floats3, c.uints = c.floats1[:0], c.floats2[:0], c.floats3[:0], c.uints[:0]
	for i := range arms {
		c.texts1 = append(c.texts1, arms[i].Arm)
		c.texts2 = append(c.texts2, arms[i].Policy)
		c.floats1 = append(c.floats1, arms[i].Share)
		c.floats2 = append(c.floats2, arms[i].Probability)
		c.floats3 = append(c.floats3, arms[i].Floor)
		c.uints = append(c.uints, arms[i].Model)
	}
	c.armsArm.Append(c.texts1)
	c.armsPolicy.Append(c.texts2)
	c.armsShare.Append(c.floats1)
	c.armsProbability.Append(c.floats2)
	c.armsFloor.Append(c.floats3)
	c.armsModel.Append(c.uints)
}

// impressionColumns are the columns of impressions_raw.
type impressionColumns struct {
	inserter
	id                *proto.ColUUID
	slot              *proto.ColUInt8
	status, action    *lowCardinality
	time              *proto.ColDateTime64
	position, version *proto.ColUInt64
}

func newImpressionColumns() *impressionColumns {
	c := &impressionColumns{inserter: inserter{table: tableImpressions}}
	c.id = c.uuid("decision_id")
	c.slot = c.byte("slot")
	c.status = c.low("status")
	c.action = c.low("action")
	c.time = c.inserter.time("time")
	c.position = c.uint("journal_position")
	c.version = c.uint("version")
	return c
}

func (c *impressionColumns) append(position uint64, item int, m *nextbest.Impression) {
	c.id.Append(m.DecisionID)
	c.slot.Append(m.Slot)
	c.status.Append(string(m.Status))
	c.action.Append(m.Action)
	c.time.Append(m.Time)
	c.position.Append(position)
	c.version.Append(lastWins(position, item))
}

// rewardColumns are the columns of rewards_raw and of reward_reports_raw, which
// take the same rows.
type rewardColumns struct {
	inserter
	id, customer      *proto.ColStr
	kind              *lowCardinality
	value             *proto.ColFloat64
	time              *proto.ColDateTime64
	decision          *proto.ColUUID
	slot              *proto.ColUInt8
	withdrawn         *proto.ColBool
	position, version *proto.ColUInt64
}

func newRewardColumns() *rewardColumns {
	c := &rewardColumns{inserter: inserter{table: tableRewards}}
	c.id = c.str("reward_id")
	c.kind = c.low("kind")
	c.value = c.float("value")
	c.time = c.inserter.time("time")
	c.decision = c.uuid("decision_id")
	c.slot = c.byte("slot")
	c.customer = c.str("customer")
	c.withdrawn = c.bool("withdrawn")
	c.position = c.uint("journal_position")
	c.version = c.uint("version")
	return c
}

func (c *rewardColumns) append(position uint64, item int, r *nextbest.Reward) {
	c.id.Append(r.ID)
	c.kind.Append(r.Kind)
	c.value.Append(r.Value)
	c.time.Append(r.Time)
	if r.DecisionID != uuid.Nil {
		c.decision.Append(r.DecisionID)
		c.customer.Append("")
	} else {
		c.decision.Append(uuid.Nil)
		c.customer.Append(r.Customer)
	}
	c.slot.Append(max(r.Slot, 1))
	c.withdrawn.Append(r.Withdrawn)
	c.position.Append(position)
	c.version.Append(lastWins(position, item))
}
