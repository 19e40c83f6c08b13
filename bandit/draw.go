package bandit

import (
	"strconv"
	"unsafe"

	"github.com/google/uuid"

	"nextbest"
)

// Draw selects an index by inversion: the first i with u < p₀ + … + pᵢ, the sum
// taken in that order in float64. u lies in [0, 1). It never selects an index
// with probability 0; where the sum ends below u by rounding, it is the last
// index with a positive probability. It returns −1 where there is none.
func Draw(p []float64, u float64) int {
	last := -1
	var sum float64
	for i, v := range p {
		if v > 0 {
			sum += v
			last = i
			if u < sum {
				return i
			}
		}
	}
	return last
}

// DrawUniform is the uniform number of a decision's slot: nextbest.Uniform(salt,
// id + "/" + slot), the id in its canonical form and the slot in decimal.
func DrawUniform(salt string, id uuid.UUID, slot uint8) float64 {
	var buf [40]byte // 36 of the id, the slash, 3 digits
	const hex = "0123456789abcdef"
	n := 0
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			buf[n] = '-'
			n++
		}
		buf[n], buf[n+1] = hex[b>>4], hex[b&15]
		n += 2
	}
	buf[n] = '/'
	key := strconv.AppendUint(buf[:n+1], uint64(slot), 10)
	// Uniform copies the key before it returns, so buf may stay on the stack.
	return nextbest.Uniform(salt, unsafe.String(&key[0], len(key)))
}
