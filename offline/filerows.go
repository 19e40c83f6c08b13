package offline

import (
	"context"
	"math"
	"strconv"
	"strings"

	"nextbest/estimators"
)

// logFile reads a log file in pieces, any number of times.
type logFile interface {
	schema() fileSchema
	// read calls f with pieces of at most pieceRows rows, in the file's order. A
	// value that is missing or cannot be read as a number is NaN, a missing name
	// is empty. A piece is f's until it returns.
	read(ctx context.Context, columns map[string]fileColumn, f func(*filePiece) error) error
	close() error
}

// pieceRows bounds the rows in memory at one time.
const pieceRows = 4096

// filePiece is some consecutive rows of a file, a slice for each field that it
// has.
type filePiece struct {
	first                                             int64 // row number, from 0
	n                                                 int
	numbers                                           map[string][]float64
	lines                                             []int    // of the file, from 1; nil where it has none
	actions, customers                                []string // where they are not numbers
	reward, propensity, evaluation, action, positions []float64
	evaluations, predictions, logged                  fileLists
}

// fileLists is a column of lists: row i has values[offsets[i]:offsets[i+1]].
type fileLists struct {
	values  []float64
	offsets []int
}

func (l *fileLists) row(i int) []float64 { return l.values[l.offsets[i]:l.offsets[i+1]] }

func (l *fileLists) present() bool { return len(l.offsets) > 0 }

// fill gives the fields their slices.
func (p *filePiece) fill() {
	p.reward, p.propensity, p.evaluation = p.numbers[fieldReward], p.numbers[fieldPropensity], p.numbers[fieldEvaluation]
	p.action, p.positions = p.numbers[fieldAction], p.numbers[fieldPosition]
}

// actionBook numbers the actions of a file. Where the file has lists, an
// action's number is its place in them: given as a number, or by the order of
// names. Otherwise numbers are handed out as actions appear.
type actionBook struct {
	lists  bool
	listed map[string]int // the place of each name in the lists, where names were given
	number map[string]int
	names  []string
}

func newActionBook(lists bool, order []string) *actionBook {
	b := &actionBook{lists: lists, number: map[string]int{}}
	if len(order) > 0 {
		b.listed = map[string]int{}
		for i, name := range order {
			b.listed[name] = i
		}
		b.names = order
	}
	return b
}

// rule is the one that an unknown action breaks.
func (b *actionBook) rule() rowRule {
	switch {
	case b.listed != nil:
		names := b.names
		more := ""
		if len(names) > shownNames {
			names, more = names[:shownNames], ", …"
		}
		return rowRule{fieldAction, "it is none of the actions named by --actions (" + strings.Join(names, ", ") + more + ")", "name every action of the lists with --actions, in their order, as the file writes them"}
	case b.lists:
		return rowRule{fieldAction, "no such action", "number the actions from 0 in the order of the lists, or name them with --actions"}
	}
	return rowRule{fieldAction, "no such action", "give every row the action that was taken: a number or a name"}
}

// shownNames is how many actions an error names.
const shownNames = 20

// of returns row i's action number, and what it is called where it has none.
func (b *actionBook) of(p *filePiece, i int) (number int, name string) {
	if p.actions != nil {
		name = p.actions[i]
	} else if v := p.action[i]; v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		name = strconv.FormatInt(int64(v), 10)
	} else {
		return -1, floatText(v)
	}
	switch {
	case name == "":
		return -1, "missing"
	case b.listed != nil:
		if k, ok := b.listed[name]; ok {
			return k, name
		}
		return -1, name
	case b.lists:
		if v, err := strconv.ParseFloat(name, 64); err == nil && v >= 0 && v == math.Trunc(v) && v < 1<<31 { // 1.0, as some write it
			return int(v), name
		}
		return -1, name
	}
	k, ok := b.number[name]
	if !ok {
		k = len(b.names)
		b.number[name] = k
		b.names = append(b.names, name)
	}
	return k, name
}

// name returns what an action number is called.
func (b *actionBook) name(k int) string {
	if b.lists && b.listed == nil {
		return strconv.Itoa(k)
	}
	return b.names[k]
}

// row fills r with what row i contributes; action is its number.
func (p *filePiece) row(i, action int, r *estimators.Row) {
	π := p.probability(i, action)
	*r = estimators.Row{Weight: π / p.propensity[i], Reward: p.reward[i], Support: 1, Propensity: p.propensity[i], Matched: p.reward[i] != 0}
	if p.predictions.present() {
		q := p.predictions.row(i)
		r.Q = q[action]
		if p.evaluations.present() {
			for a, π := range p.evaluations.row(i) {
				r.QPolicy += π * q[a]
			}
		}
	}
}

// probability is the candidate's, of row i's action.
func (p *filePiece) probability(i, action int) float64 {
	if p.evaluation != nil {
		return p.evaluation[i]
	}
	return p.evaluations.row(i)[action]
}
