package offline

import (
	"fmt"
	"math"
)

// sumTolerance is how far from 1 a candidate's probabilities may sum, and from
// each other two statements of the same probability may lie.
const sumTolerance = 1e-6

// beyondMeasure is a size that no reward and no weight has: the fourth power of
// the product of two such numbers is still one.
const beyondMeasure = 1e30

// singleEpsilon is the rounding of one float32.
const singleEpsilon = 6e-8

var (
	rulePropensity = rowRule{fieldPropensity, "it must be a probability in (0, 1]", "log the probability with which each action was really taken; it cannot be guessed afterwards, and rows without one cannot be dropped without bias"}
	ruleTiny       = rowRule{fieldPropensity, fmt.Sprintf("it is below %g: no action of so small a probability is ever taken, and powers of its weight are no numbers", 1/beyondMeasure), "check the column: is it a probability?"}
	ruleMeasure    = rowRule{fieldReward, fmt.Sprintf("it is beyond ±%g: its powers are no numbers", beyondMeasure), "give rewards in a larger unit"}
	ruleForetold   = rowRule{fieldPredictions, fmt.Sprintf("a prediction is beyond ±%g: its powers are no numbers", beyondMeasure), "check the reward model, and give rewards in a larger unit"}
	ruleReward     = rowRule{fieldReward, "it must be a finite number", "where a row has none, write the reward that counts for nothing, usually 0"}
	ruleNamed      = rowRule{fieldAction, "it is a name, and lists are in the order of numbers", "give --actions NAME,NAME,… in the order of the lists, or number the actions from 0"}
	rulePosition   = rowRule{fieldPosition, "it must be a whole number", ""}
	ruleCustomer   = rowRule{fieldCustomer, "it is missing", "give every row its customer, or leave the column out: then each row counts as independent"}
	ruleEvaluation = rowRule{fieldEvaluation, "it must be a probability in [0, 1]", ""}
	ruleListed     = rowRule{fieldEvaluations, "every probability must be in [0, 1]", ""}
	ruleSum        = rowRule{fieldEvaluations, "the probabilities must sum to 1", "give the candidate's whole distribution over the actions, of the row's position where there are positions"}
	ruleAgree      = rowRule{fieldEvaluation, "it is not what " + fieldEvaluations + " says of the logged action", "check that actions are numbered from 0 in the order of the lists"}
	ruleLogged     = rowRule{fieldLogged, "every probability must be in [0, 1]", ""}
	ruleLoggedSum  = rowRule{fieldLogged, "the probabilities must sum to 1", "give the logger's whole distribution over the actions"}
	ruleLoggedOne  = rowRule{fieldLogged, "they do not have the row's propensity", "check that actions are numbered from 0 in the order of the lists"}
	rulePrediction = rowRule{fieldPredictions, "every prediction must be a finite number", ""}
)

// fileCheck refuses rows that cannot be used.
type fileCheck struct {
	problems rowProblems
	book     *actionBook
	actions  int    // length of every list; 0: none seen
	first    string // the field whose list said so
	rows     int64
	loose    map[string]float64 // tolerance by field
	ruleLow  rowRule
	ruleHigh rowRule
	low      float64
	high     float64
	one, all bool
	actionOf []int // scratch: each row's action number, −1 where it has none
}

func newFileCheck(columns map[string]fileColumn, book *actionBook, o *FileOptions) *fileCheck {
	c := &fileCheck{problems: rowProblems{columns: columns}, book: book, low: math.Inf(-1), high: math.Inf(1), loose: map[string]float64{}}
	for field, column := range columns {
		c.loose[field] = sumTolerance
		if column.single {
			c.loose[field] += singleEpsilon
		}
	}
	if o.RewardMin != nil {
		c.low = *o.RewardMin
		c.ruleLow = rowRule{fieldReward, fmt.Sprintf("%v is declared the least reward", c.low), "correct --reward-min"}
	}
	if o.RewardMax != nil {
		c.high = *o.RewardMax
		c.ruleHigh = rowRule{fieldReward, fmt.Sprintf("%v is declared the largest reward", c.high), "correct --reward-max, or cap the rewards in the file"}
	}
	_, c.one = columns[fieldEvaluation]
	_, c.all = columns[fieldEvaluations]
	return c
}

// piece checks the rows of a piece and numbers their actions. It reports
// whether all of them can be used.
func (c *fileCheck) piece(p *filePiece) bool {
	before := len(c.problems.order)
	bad := false
	c.actionOf = c.actionOf[:0]
	for i := range p.n {
		row := p.first + int64(i)
		if p.lines != nil {
			c.problems.line = p.lines[i]
		}
		c.rows++
		number, name := c.book.of(p, i)
		if number < 0 {
			bad = true
			if p.actions != nil && c.book.lists && c.book.listed == nil && name != "missing" {
				c.problems.add(ruleNamed, row, name)
			} else {
				c.problems.add(c.book.rule(), row, name)
			}
		}
		c.actionOf = append(c.actionOf, number)
		c.reward(p.reward[i], row)
		known := c.propensity(p.propensity[i], row)
		if p.positions != nil && p.positions[i] != math.Trunc(p.positions[i]) { // NaN among them
			c.problems.add(rulePosition, row, floatText(p.positions[i]))
		}
		if p.customers != nil && p.customers[i] == "" {
			c.problems.add(ruleCustomer, row, "empty")
		}
		if c.one {
			c.probability(ruleEvaluation, p.evaluation[i], row)
		}
		ok := c.lists(p, i, row, known)
		if number >= 0 && c.actions > 0 && number >= c.actions {
			c.problems.add(rowRule{fieldAction, fmt.Sprintf("the lists have %d actions, numbered 0 to %d", c.actions, c.actions-1), "number the actions from 0 in the order of the lists"}, row, name)
			continue
		}
		if ok && number >= 0 && c.one && c.all {
			π, listed := p.evaluation[i], p.evaluations.row(i)[number]
			if !(math.Abs(π-listed) <= max(c.loose[fieldEvaluation], c.loose[fieldEvaluations])) {
				c.problems.add(ruleAgree, row, fmt.Sprintf("%v, listed %v", π, listed))
			}
		}
	}
	return !bad && len(c.problems.order) == before && before == 0
}

func (c *fileCheck) reward(r float64, row int64) {
	switch {
	case !finite(r):
		c.problems.add(ruleReward, row, floatText(r))
	case math.Abs(r) > beyondMeasure:
		c.problems.add(ruleMeasure, row, floatText(r))
	case r < c.low:
		c.problems.add(c.ruleLow, row, floatText(r))
	case r > c.high:
		c.problems.add(c.ruleHigh, row, floatText(r))
	}
}

// propensity reports whether the row has one.
func (c *fileCheck) propensity(μ float64, row int64) bool {
	switch {
	case !(μ > 0 && μ <= 1+c.loose[fieldPropensity]):
		c.problems.add(rulePropensity, row, floatText(μ))
	case μ < 1/beyondMeasure:
		c.problems.add(ruleTiny, row, floatText(μ))
	default:
		return true
	}
	return false
}

func (c *fileCheck) probability(rule rowRule, π float64, row int64) {
	if !(π >= 0 && π <= 1+c.loose[rule.field]) {
		c.problems.add(rule, row, floatText(π))
	}
}

// unequal is the rule that a list of n values breaks. Lists of some multiple of
// the others' length are those of all positions.
func (c *fileCheck) unequal(field string, n int) rowRule {
	if c.actions == 0 {
		return rowRule{field, "a list of one value for each action must be there", "leave the column out where there is none"}
	}
	rule := rowRule{field, fmt.Sprintf("every list must have the same length, that of the first row's %s (%d)", c.first, c.actions), "list every action in every row; one that could not be taken has probability 0"}
	if field != c.first && n > 0 && c.actions > 0 && max(n, c.actions)%min(n, c.actions) == 0 {
		rule.cure = "give one value for each action; where there are positions, those of the row's own (of an array of actions by positions, a[:, position])"
	}
	return rule
}

func lengthText(n int) string {
	if n == 0 {
		return "no values: no list such as [0.2,0.8]"
	}
	return fmt.Sprintf("%d values", n)
}

// lists checks the row's lists and reports whether they can be read. What they say
// of the row's propensity counts where that is known.
func (c *fileCheck) lists(p *filePiece, i int, row int64, known bool) bool {
	ok := true
	length := func(field string, l *fileLists) bool {
		n := len(l.row(i))
		if c.actions == 0 && n > 0 {
			c.actions, c.first = n, field
		}
		if n != c.actions || n == 0 {
			ok = false
			c.problems.add(c.unequal(field, n), row, lengthText(n))
			return false
		}
		return true
	}
	if c.all && length(fieldEvaluations, &p.evaluations) && !c.distribution(ruleListed, ruleSum, p.evaluations.row(i), row) {
		return false
	}
	if p.logged.present() && length(fieldLogged, &p.logged) && c.distribution(ruleLogged, ruleLoggedSum, p.logged.row(i), row) {
		μ := p.propensity[i]
		if k := c.actionOf[i]; known && k >= 0 && k < c.actions && !(math.Abs(p.logged.row(i)[k]-μ) <= max(c.loose[fieldPropensity], c.loose[fieldLogged])) {
			c.problems.add(ruleLoggedOne, row, fmt.Sprintf("%v, propensity %v", p.logged.row(i)[k], μ))
		}
	}
	if p.predictions.present() && length(fieldPredictions, &p.predictions) {
		for _, q := range p.predictions.row(i) {
			if !finite(q) {
				c.problems.add(rulePrediction, row, floatText(q))
				break
			}
			if math.Abs(q) > beyondMeasure {
				c.problems.add(ruleForetold, row, floatText(q))
				break
			}
		}
	}
	return ok
}

// distribution checks probabilities of all actions and reports whether they can
// be read.
func (c *fileCheck) distribution(each, sum rowRule, p []float64, row int64) bool {
	total := 0.0
	for _, π := range p {
		total += π
		if !(π >= 0 && π <= 1+c.loose[each.field]) {
			c.problems.add(each, row, floatText(π))
			return false
		}
	}
	loose := c.loose[each.field]
	if loose > sumTolerance { // float32: each of them is rounded
		loose += singleEpsilon * float64(c.actions)
	}
	if !(math.Abs(total-1) <= loose) {
		c.problems.add(sum, row, fmt.Sprintf("sum %v", total))
	}
	return true
}
