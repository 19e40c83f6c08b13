package coverage

import (
	"fmt"
	"io"
	"math"
	"strings"

	"nextbest/estimators"
)

// Bounds of a nominal .95 within which an interval is good.
const (
	promisedLow  = 0.92
	promisedHigh = 0.997
)

// fewestConversions is where a report begins to conclude.
const fewestConversions = 20

// Failures returns where a default interval covers less than .92 of the
// logs from 20 converting customers up, or where any interval misleads: misses on
// more than .08 of all logs while the report neither refuses nor warns; by more
// than three standard errors of the simulation. None is as it should be. Coverage
// given that nothing warned is no measure: a log that has not met its large
// rewards yet looks calm.
func Failures(results []Result, replications int) (out []string) {
	slack := 3 * math.Sqrt(promisedLow*(1-promisedLow)/float64(replications))
	for _, r := range results {
		if r.Conversions < fewestConversions {
			continue
		}
		for k, c := range r.Cells {
			if intervals[k].Default && !(c.Coverage() >= promisedLow-slack) {
				out = append(out, fmt.Sprintf("%s covers %.3f: %+v", intervals[k].Title, c.Coverage(), r.Setting))
			}
			if m := c.Misled(replications); m > 1-promisedLow+slack {
				out = append(out, fmt.Sprintf("%s misleads in %.3f: %+v", intervals[k].Title, m, r.Setting))
			}
		}
	}
	return out
}

// Misled is the share of all logs on which the interval missed and neither a
// refusal nor a warning came with it.
func (c Cell) Misled(replications int) float64 {
	return float64(c.Reported-c.Right) / float64(replications)
}

// Write writes the study as Markdown.
func Write(w io.Writer, results []Result, replications int, seed uint64) error {
	var b strings.Builder
	fmt.Fprintf(&b, `# Coverage of the intervals

How often a nominal 95%% interval holds the true value, from %d simulated logs of every setting: `+"`nextbest bench coverage --seed %d`"+` makes this page again, digit for digit.
The unit is the customer throughout. A standard error of the figures is %.3f at .95 and %.3f at .8.

- **Weights**: light, 0 or 2; medium, 0 or 2 to 20; heavy, 0 or 3 to 100. The rate of rewards is higher where weights are larger, so that estimates lean.
- **Clustered customers** have five rows each, and a fifth of them all the rewards. **Revenue**: a reward is worth 1 to 64, P(≥ 2^j) = 2^(−1.5j).
- **Converting**: converting customers whose action the candidate shares; **effective**: (Σ\|wr\|)²/Σ(wr)² over customers, how many equal ones would carry the estimate as evenly.
- **Refused**: logs on which a report draws no conclusion (effective sample size, conversions, one customer's share).
- **Bold**: below %.2f. A dash: says nothing on most logs (its own rule refuses it). EL is empirical likelihood, the default of a report; the gate is the one-sided bound on the difference to the logger, which is 0 here.

`, replications, seed, math.Sqrt(.95*.05/float64(replications)), math.Sqrt(.8*.2/float64(replications)), promisedLow)

	fmt.Fprintf(&b, "## From %d converting customers up\n\n", fewestConversions)
	b.WriteString("| interval | least to most coverage | settings below .92 | most logs on which it missed without refusal or warning | refused below (conversions) | warns below (effective) |\n|---|---|---|---|---|---|\n")
	for k, i := range intervals {
		least, most, bad, of, misled := 2.0, 0.0, 0, 0, 0.0
		for _, r := range results {
			c := r.Cells[k]
			if r.Conversions < fewestConversions {
				continue
			}
			misled = max(misled, c.Misled(replications))
			if c.Given < replications/2 {
				continue
			}
			of++
			least, most = min(least, c.Coverage()), max(most, c.Coverage())
			if c.Coverage() < promisedLow {
				bad++
			}
		}
		kind, _ := estimators.FindInterval(i.Kind)
		title, rule, warns := i.Title, "", "never"
		if i.Default {
			title += " (default)"
		}
		if kind.Refused > 0 {
			rule = fmt.Sprintf("%.0f", kind.Refused)
		}
		if kind.Warned > 0 {
			warns = strings.ReplaceAll(fmt.Sprintf("%.0f", kind.Warned), "+Inf", "always")
		}
		fmt.Fprintf(&b, "| %s | %s to %s | %d of %d | %s | %s | %s |\n", title, figure(least), figure(most), bad, of, figure(misled), rule, warns)
	}

	for _, part := range []struct {
		title string
		in    func(s Setting) bool
	}{
		{"Conversions, one row per customer", func(s Setting) bool { return s.Rows == 1 && !s.Revenue }},
		{"Conversions, five rows per customer", func(s Setting) bool { return s.Rows > 1 }},
		{"Heavy-tailed revenue", func(s Setting) bool { return s.Revenue }},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| weights | rate | customers | converting | effective | refused |", part.title)
		for _, i := range intervals {
			fmt.Fprintf(&b, " %s |", i.Title)
		}
		b.WriteString(" width of EL value, of the truth |\n|---|---|---|---|---|---|" + strings.Repeat("---|", len(intervals)+1) + "\n")
		for _, r := range results {
			if !part.in(r.Setting) {
				continue
			}
			s := r.Setting
			fmt.Fprintf(&b, "| %s | %g%% | %d | %.0f | %.0f | %.0f%% |", s.Tail, 100*s.Rate, s.Customers, r.Conversions, r.Effective, 100*r.Refused)
			for _, c := range r.Cells {
				switch {
				case c.Given < replications/2:
					b.WriteString(" – |")
				case c.Coverage() < promisedLow:
					fmt.Fprintf(&b, " **%s** |", figure(c.Coverage()))
				default:
					fmt.Fprintf(&b, " %s |", figure(c.Coverage()))
				}
			}
			fmt.Fprintf(&b, " %.2f |\n", r.Cells[0].Width/r.Truth)
		}
	}

	b.WriteString("\n## What follows\n\n")
	if failures := Failures(results, replications); len(failures) > 0 {
		b.WriteString("Covered too little where a report would not have said so:\n\n- " + strings.Join(failures, "\n- ") + "\n")
	} else {
		fmt.Fprintf(&b, "From %d converting customers up the default intervals cover at least %.2f everywhere, within three standard errors of the simulation; no other interval misses on more than %.2f of the logs unless the report refuses or warns.\n", fewestConversions, promisedLow, 1-promisedLow)
	}
	wide := 0
	for _, r := range results {
		if r.Conversions >= fewestConversions && r.Cells[0].Coverage() > promisedHigh {
			wide++
		}
	}
	fmt.Fprintf(&b, "The default covers more than %.3f in %d settings. Where the largest possible weight times the largest reward is far above what the sample holds, it is honest and wide (last column): cap the reward or explore more.\n", promisedHigh, wide)
	b.WriteString("Other intervals are offered beside it, and `nextbest evaluate` adds the warning to a report that shows one.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func figure(v float64) string {
	s := fmt.Sprintf("%.3f", v)
	return strings.TrimPrefix(s, "0")
}
