package logging

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"nextbest"
)

// armSharesSQL is a row's arms.share as one text.
const armSharesSQL = "arrayStringConcat(arrayMap(s -> toString(reinterpretAsUInt64(s)), `arms.share`), ',')"

// parseArmShares takes the arms and their shares off the end of a signature's
// texts: a name for each share, then the shares. It returns nil where no arms ran.
func parseArmShares(texts []string) (*nextbest.ArmShares, []string, error) {
	if len(texts) == 0 {
		return nil, nil, errors.New("no shares")
	}
	last := len(texts) - 1
	if texts[last] == "" {
		return nil, texts[:last], nil
	}
	list := strings.Split(texts[last], ",")
	first := last - len(list)
	if first < 0 {
		return nil, nil, errors.New("more shares than arms")
	}
	s := &nextbest.ArmShares{Arms: texts[first:last:last], Shares: make([]float64, len(list))}
	for k, text := range list {
		bits, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, nil, err
		}
		s.Shares[k] = math.Float64frombits(bits)
	}
	return s, texts[:first], nil
}
