package demo

import (
	"fmt"
	"io"
	"strings"
)

// screen prints the story, chapter by chapter.
type screen struct {
	out      io.Writer
	progress func(format string, args ...any)
}

// line prints one line under a short heading.
func (s *screen) line(heading, format string, args ...any) {
	fmt.Fprintf(s.out, "%-9s %s\n", heading, fmt.Sprintf(format, args...))
}

func (s *screen) week(w Week) {
	s.line("day 1–7", "rules + 10%% exploration · %s decisions, %s impressions, %s rewards, do-nothing %.0f%%",
		thousands(w.Decisions), thousands(w.Impressions), thousands(w.Rewards), 100*w.DoNothing)
}

// offline prints the evaluation as a table, and the refusal of the other log.
func (s *screen) offline(rows, refused []OfflineRow) {
	s.line("offline", "%-17s %-24s %6s  %s", "candidate", "orders per decision", "ESS", "verdict")
	for _, r := range rows {
		s.line("", "%-17s %-24s %6s  %s", r.Name, r.estimate(), thousands(int(r.ESS)), r.Verdict)
	}
	for _, r := range refused {
		if len(r.Refusals) > 0 {
			s.line("", "%-17s on a log of rules alone: REFUSED, %s", r.Name, r.Refusals[0])
			break // the other candidates meet the same
		}
	}
}

func (s *screen) live(rows []LiveRow) {
	s.line("day 8–21", "%-30s %6s  %-26s %-24s %s", "experiment / arm", "n", "live, orders per decision", "promised offline", "truth (simulator)")
	for _, r := range rows {
		promised := "–"
		if r.Promised != nil {
			promised = r.Promised.String()
		}
		s.line("", "%-30s %6s  %-26s %-24s %.4f", r.Experiment+" / "+r.Arm, thousands(r.Customers), r.Live.String(), promised, r.Truth)
	}
}

func (s *screen) promotions(ps []Promotion) {
	for i, p := range ps {
		heading := ""
		if i == 0 {
			heading = "promote"
		}
		switch {
		case p.Status == "promoted":
			s.line(heading, "%s PROMOTED, %d of %d gates", p.Policy, p.Passed, p.Gates)
		default:
			s.line(heading, "%s REFUSED: %s", p.Policy, strings.Join(p.Why, "; "))
		}
	}
}

func (s *screen) verify(v Verified) {
	s.line("verify", "%s of %s decisions replayed identically", thousands(int(v.Identical)), thousands(int(v.Checked)))
}

// thousands writes n with separators.
func thousands(n int) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
