package bandit

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// draws are the deviations of posterior draws of shared weights B from their
// mean, each of which is used with both signs. Their standard normal numbers
// are fixed by the policy's seed and the model's bytes, so that every replica
// has the same ones.
type draws struct {
	d, k int // features of the context and of an action
	n    int // deviations, a multiple of 4
	// values holds four draws side by side: entry (i, c) of draw j lies at
	// 4·(d·k·(j/4) + d·c + i) + j mod 4.
	values []float64
	// features holds f of each belief, and last that of other actions.
	features []float64
}

// newDraws draws v σ L⁻ᵀ g with g standard normal.
func newDraws(s Spec, m *Model, t *joint, sigma float64) *draws {
	size := t.d * t.k
	w := &draws{d: t.d, k: t.k, n: int(s.param("draws")) / 2}
	w.values = make([]float64, w.n*size)
	bytes, _ := m.MarshalBinary() // the error is always nil
	digest := sha256.Sum256(binary.LittleEndian.AppendUint64(bytes, math.Float64bits(s.param("seed"))))
	source := rand.NewPCG(binary.LittleEndian.Uint64(digest[:]), binary.LittleEndian.Uint64(digest[8:]))
	g := make([]float64, len(t.factor.c))
	scale := float64(s.param("v") * sigma)
	for j := range w.n {
		for i := range size {
			g[i] = standardNormal(source.Uint64())
		}
		t.factor.solveTransposed(g, size)
		to := w.values[4*size*(j/4)+j%4:]
		for i := range size {
			to[4*i] = float64(scale * g[i])
		}
	}
	return w
}

// standardNormal inverts Φ at the middle of one of 2⁵² equal intervals.
func standardNormal(bits uint64) float64 {
	u := (float64(bits>>12) + 0.5) / (1 << 52)
	return math.Sqrt2 * math.Erfinv(2*u-1)
}

// at sets y to Bᵀx of the four draws from j on: y[4c+l] is column c of draw j+l.
func (w *draws) at(y []float64, x []float64, j int) {
	values := w.values[j*w.d*w.k:]
	for c := range w.k {
		var s0, s1, s2, s3 float64
		column := values[4*c*w.d:]
		for _, v := range x[:w.d] {
			r := (*[4]float64)(column)
			s0 += float64(v * r[0])
			s1 += float64(v * r[1])
			s2 += float64(v * r[2])
			s3 += float64(v * r[3])
			column = column[4:]
		}
		z := (*[4]float64)(y[4*c:])
		z[0], z[1], z[2], z[3] = s0, s1, s2, s3
	}
}

// featuresOf returns f of an arm, −1 being every other action.
func (w *draws) featuresOf(arm int32) []float64 {
	if arm < 0 {
		return w.features[len(w.features)-w.k:]
	}
	return w.features[int(arm)*w.k : (int(arm)+1)*w.k]
}
