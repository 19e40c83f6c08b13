package bandit

import (
	"fmt"
	"strconv"
)

// Training names all that a model depends on besides its rows: specifications
// that give the same text learn the same model from the same rows, and may share
// it. What only decides how a model is used (alpha, v, a floor) is not in it. ""
// where the policy learns nothing.
func (s Spec) Training() string {
	if !s.Learns() {
		return ""
	}
	known := algorithms[s.Algorithm]
	window := ""
	if s.Forgetting != nil {
		window = s.Forgetting.Window.String()
	}
	return fmt.Sprintf("kind %d, features %q, context free %t, unit rewards %t, ridge %s, half-life %s, window %s", s.kind(), s.Features, known.contextFree, known.unitRewards,
		strconv.FormatFloat(s.param(ridge.name), 'g', -1, 64), s.HalfLife(), window)
}
