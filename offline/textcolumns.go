package offline

import (
	"math"
	"strings"
	"unicode/utf8"
)

// textAxis draws intervals as text on a common axis.
type textAxis struct{ low, high float64 }

// axisWidth is an interval's drawing in characters.
const axisWidth = 28

func (a textAxis) draw(low, value, high float64) string {
	if !(a.high > a.low) {
		return ""
	}
	at := func(v float64) int { return int(math.Round((v - a.low) / (a.high - a.low) * (axisWidth - 1))) }
	line := []rune(strings.Repeat(" ", axisWidth))
	for k := at(low); k <= at(high); k++ {
		line[k] = '─'
	}
	line[at(low)], line[at(high)] = '├', '┤'
	line[at(value)] = '●'
	return string(line)
}

// writeColumns aligns cells; the last of a row is not padded.
func writeColumns(b *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for k, c := range row {
			widths[k] = max(widths[k], utf8.RuneCountInString(c))
		}
	}
	for _, row := range rows {
		for k, c := range row {
			b.WriteString(c)
			if k < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[k]-utf8.RuneCountInString(c)+2))
			}
		}
		b.WriteByte('\n')
	}
}
