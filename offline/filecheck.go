package offline

import (
	"fmt"
	"math"
)

// sumTolerance is how far from 1 a candidate's probabilities may sum, and from
// each other two statements of the same probability may lie.
const sumTolerance = 1e-6

// singleEpsilon is the rounding of one float32.
const singleEpsilon = 6e-8

var (
	rulePropensity = rowRule{fieldPropensity, "it must be a probability in (0, 1]", "log the probability with which each action was really taken; it cannot be guessed afterwards, and rows without one cannot be dropped without bias"}
	ruleTiny       = rowRule{fieldPropensity, "it is so small that the weight is no number", "check the column: is it a probability?"}
	ruleReward     = rowRule{fieldReward, "it must be a finite number", "a row without a reward has the reward that counts for nothing, usually 0"}
	ruleAction     = rowRule{fieldAction, "no such action", ""}
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
	actions  int // length of every list; 0: none seen
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
		c.rows++
		number, name := c.book.of(p, i)
		if number < 0 {
			bad = true
			if p.actions != nil && c.book.lists && c.book.listed == nil && name != "missing" {
				c.problems.add(ruleNamed, row, name)
			} else {
				c.problems.add(ruleAction, row, name)
			}
		}
		c.actionOf = append(c.actionOf, number)
		c.reward(p.reward[i], row)
		c.propensity(p.propensity[i], row)
		if p.positions != nil && p.positions[i] != math.Trunc(p.positions[i]) { // NaN among them
			c.problems.add(rulePosition, row, floatText(p.positions[i]))
		}
		if p.customers != nil && p.customers[i] == "" {
			c.problems.add(ruleCustomer, row, "empty")
		}
		if c.one {
			c.probability(ruleEvaluation, p.evaluation[i], row)
		}
		ok := c.lists(p, i, row)
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
		if π := c.evaluation(p, i, number, ok); π/p.propensity[i] > math.MaxFloat64 && p.propensity[i] > 0 {
			c.problems.add(ruleTiny, row, floatText(p.propensity[i]))
		}
	}
	return !bad && len(c.problems.order) == before && before == 0
}

// evaluation returns the candidate's probability of the logged action, 0 where
// that cannot be read.
func (c *fileCheck) evaluation(p *filePiece, i, number int, listed bool) float64 {
	if number < 0 || !c.one && !(listed && number < c.actions) {
		return 0
	}
	return p.probability(i, number)
}

func (c *fileCheck) reward(r float64, row int64) {
	switch {
	case !finite(r):
		c.problems.add(ruleReward, row, floatText(r))
	case r < c.low:
		c.problems.add(c.ruleLow, row, floatText(r))
	case r > c.high:
		c.problems.add(c.ruleHigh, row, floatText(r))
	}
}

func (c *fileCheck) propensity(μ float64, row int64) {
	if !(μ > 0 && μ <= 1+c.loose[fieldPropensity]) {
		c.problems.add(rulePropensity, row, floatText(μ))
	}
}

func (c *fileCheck) probability(rule rowRule, π float64, row int64) {
	if !(π >= 0 && π <= 1+c.loose[rule.field]) {
		c.problems.add(rule, row, floatText(π))
	}
}

// lists checks the row's lists and reports whether they can be read.
func (c *fileCheck) lists(p *filePiece, i int, row int64) bool {
	ok := true
	length := func(field string, l *fileLists) bool {
		n := len(l.row(i))
		if c.actions == 0 && n > 0 {
			c.actions = n
		}
		if n != c.actions || n == 0 {
			ok = false
			c.problems.add(rowRule{field, fmt.Sprintf("every list must have the same length, that of the first row (%d)", c.actions), "list every action in every row; one that could not be taken has probability 0"}, row, fmt.Sprintf("%d values", n))
			return false
		}
		return true
	}
	if c.all && length(fieldEvaluations, &p.evaluations) && !c.distribution(ruleListed, ruleSum, p.evaluations.row(i), row) {
		return false
	}
	if p.logged.present() && length(fieldLogged, &p.logged) && c.distribution(ruleLogged, ruleLoggedSum, p.logged.row(i), row) {
		μ := p.propensity[i]
		if k := c.actionOf[i]; k >= 0 && k < c.actions && !(math.Abs(p.logged.row(i)[k]-μ) <= max(c.loose[fieldPropensity], c.loose[fieldLogged])) {
			c.problems.add(ruleLoggedOne, row, fmt.Sprintf("%v, propensity %v", p.logged.row(i)[k], μ))
		}
	}
	if p.predictions.present() && length(fieldPredictions, &p.predictions) {
		for _, q := range p.predictions.row(i) {
			if !finite(q) {
				c.problems.add(rulePrediction, row, floatText(q))
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
