package offline

import (
	"fmt"
	"math"
	"strings"
)

// verdict says in plain words what a result allows to conclude; best is what the
// best fixed action is called.
func verdict(r, fixed *Result, best string) string {
	if r.Refused() {
		var why []string
		for _, x := range r.Refusals {
			why = append(why, x.Message)
		}
		v := "REFUSED: " + strings.Join(why, "; ")
		if r.Bounds != nil {
			v += fmt.Sprintf("; all that can be said is a value between %s and %s", number(r.Bounds.Low), number(r.Bounds.High))
		}
		return v + " — " + r.Refusals[0].Cure
	}
	if r.Name == nameLogged {
		return "what ran"
	}
	if r.VsLogged == nil {
		return "no estimate"
	}
	v := against(r.VsLogged, "what ran")
	switch {
	case r.Name == nameBestFixed:
	case fixed.Refused() || r.VsBestFixed == nil:
		v += "; best fixed cannot be judged on this log"
	default:
		v += "; " + against(r.VsBestFixed, best)
	}
	return v
}

func against(f *Figure, whom string) string {
	n := fmt.Sprintf("(%s [%s, %s])", signed(f.Value), signed(f.Low), signed(f.High))
	switch {
	case f.Low > 0:
		return "better than " + whom + " " + n
	case f.High < 0:
		return "worse than " + whom + " " + n
	}
	return "no evidence of lift over " + whom + " " + n
}

// number writes four significant digits without an exponent.
func number(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := 3 - int(math.Floor(math.Log10(math.Abs(v))))
	s := fmt.Sprintf("%.*f", max(min(digits, 8), 0), v)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

func signed(v float64) string {
	if s := number(v); v > 0 && s != "0" {
		return "+" + s
	} else {
		return strings.Replace(s, "-", "−", 1)
	}
}
