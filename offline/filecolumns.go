package offline

import (
	"maps"
	"slices"
	"strings"

	"nextbest"
)

// The fields of a log file. A file's column has the field's name, the name that
// Open Bandit Pipeline gives it, or one that the caller maps.
const (
	fieldReward      = "reward"
	fieldAction      = "action"
	fieldPropensity  = "propensity"
	fieldPosition    = "position"
	fieldCustomer    = "customer"
	fieldEvaluation  = "evaluation_probability"
	fieldEvaluations = "evaluation_probabilities"
	fieldPredictions = "predicted_rewards"
	fieldLogged      = "logger_probabilities"
)

// fileField is one thing that a log file may say of each row.
type fileField struct {
	name    string
	synonym string // what Open Bandit Pipeline calls it
	needed  bool
	holds   string
}

var fileFields = []fileField{
	{fieldReward, "", true, "the row's reward"},
	{fieldAction, "", true, "the action that was taken: a number from 0, or a name"},
	{fieldPropensity, "pscore", true, "the probability with which the logger took it"},
	{fieldPosition, "", false, "the slot it was shown in"},
	{fieldCustomer, "", false, "whose row it is: the unit of every interval"},
	{fieldEvaluation, "pi_e_action", false, "the probability with which the candidate takes the logged action"},
	{fieldEvaluations, "pi_e", false, "the candidate's probabilities of all actions, as a list"},
	{fieldPredictions, "q_hat", false, "a reward model's predictions for all actions, as a list"},
	{fieldLogged, "", false, "the logger's probabilities of all actions, as a list"},
}

// fileSchema is what a file's columns are called and how they are stored.
type fileSchema []fileColumn

type fileColumn struct {
	name   string
	kind   string // of the storage, for error messages
	single bool   // stored in float32
}

func (s fileSchema) find(name string) (fileColumn, bool) {
	i := slices.IndexFunc(s, func(c fileColumn) bool { return c.name == name })
	if i < 0 {
		return fileColumn{}, false
	}
	return s[i], true
}

// choose returns the column of every field that the file has. mapping gives
// columns to fields by hand.
func (s fileSchema) choose(mapping map[string]string) (map[string]fileColumn, error) {
	var p nextbest.Problems
	var has []string
	times := map[string]int{}
	for _, c := range s {
		has = append(has, c.name)
		times[c.name]++
	}
	known := map[string]bool{}
	chosen := map[string]fileColumn{}
	for _, f := range fileFields {
		known[f.name] = true
		if name, ok := mapping[f.name]; ok {
			c, ok := s.find(name)
			if !ok {
				p.Add("map."+f.name, "the file has no column %q; its columns are %s", name, strings.Join(has, ", "))
				continue
			}
			chosen[f.name] = c
			continue
		}
		c, ok := s.find(f.name)
		if !ok && f.synonym != "" {
			c, ok = s.find(f.synonym)
		}
		switch {
		case ok:
			chosen[f.name] = c
		case f.needed:
			p.Add(f.name, "the file has no such column (%s); its columns are %s: name the right one with --map %s=COLUMN", f.holds, strings.Join(has, ", "), f.name)
		}
	}
	for _, f := range fileFields {
		if c, ok := chosen[f.name]; ok && times[c.name] > 1 {
			p.Add(f.name, "the file has %d columns called %q: rename all but the right one", times[c.name], c.name)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(mapping)) {
		if !known[field] {
			var names []string
			for _, f := range fileFields {
				names = append(names, f.name)
			}
			p.Add("map."+field, "there is no such field; the fields are %s", strings.Join(names, ", "))
		}
	}
	_, one := chosen[fieldEvaluation]
	_, all := chosen[fieldEvaluations]
	if !one && !all && len(p) == 0 {
		p.Add(fieldEvaluation, "the file says nothing of the candidate: it needs %s (of the logged action) or %s (a list over all actions)", fieldEvaluation, fieldEvaluations)
	}
	return chosen, p.Err("the log file")
}
