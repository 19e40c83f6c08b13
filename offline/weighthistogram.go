package offline

import (
	"math"
	"sort"
)

// weightHistogram counts weights in four logarithmic bins to the octave.
type weightHistogram struct {
	zero    int64
	bins    map[int]int64
	largest float64
}

const binsPerOctave = 4

func (h *weightHistogram) add(w float64) {
	if w == 0 {
		h.zero++
		return
	}
	h.largest = max(h.largest, w)
	if h.bins == nil {
		h.bins = map[int]int64{}
	}
	h.bins[int(math.Floor(math.Log2(w)*binsPerOctave))]++
}

func (h *weightHistogram) merge(o *weightHistogram) {
	h.zero += o.zero
	h.largest = max(h.largest, o.largest)
	if h.bins == nil && len(o.bins) > 0 {
		h.bins = map[int]int64{}
	}
	for k, n := range o.bins {
		h.bins[k] += n
	}
}

// counts returns the bins in ascending order, zero weights first.
func (h *weightHistogram) counts() []WeightBin {
	out := []WeightBin{}
	if h.zero > 0 {
		out = append(out, WeightBin{Rows: h.zero})
	}
	var keys []int
	for k := range h.bins {
		keys = append(keys, k)
	}
	sort.Ints(keys)
	for _, k := range keys {
		out = append(out, WeightBin{From: math.Exp2(float64(k) / binsPerOctave), To: math.Exp2(float64(k+1) / binsPerOctave), Rows: h.bins[k]})
	}
	return out
}

// WeightBin counts the rows whose weight is in [From, To); both are 0 for
// weights of 0.
type WeightBin struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
	Rows int64   `json:"rows"`
}
