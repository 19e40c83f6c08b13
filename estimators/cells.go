package estimators

import "math"

// maxCells bounds the memory of one cells value.
const maxCells = 1 << 14

// cells is a sketch of customers' points (n, u, y) in flat memory: points whose
// coordinates share sign, exponent and the first mantissa bits are kept as
// their number and sums. A cell's relative width is at most 2⁻⁷ (more than 100
// logarithmic bins per octave) and its centroid is exact, so what is computed
// from the centroids is off only in the second order. Where more than maxCells
// cells are occupied all widths double; which width results depends on the set
// of points alone, not on their order, so sketches merge in any order.
type cells struct {
	level uint
	index map[cellKey]int32
	key   []cellKey
	count []float64
	n     []float64 // sums
	u     []float64
	y     []float64

	customers float64
	maxRows   float64
}

// cellKey holds sign, exponent and leading mantissa bits of n, u and y.
type cellKey struct{ n, u, y uint32 }

// mantissaBits kept at level 0.
const mantissaBits = 7

func bin(v float64, level uint) uint32 {
	if v == 0 {
		return 0 // both zeros
	}
	return uint32(math.Float64bits(v)>>(52-mantissaBits)) >> level
}

func (c *cells) add(count, n, u, y float64) {
	c.customers += count
	c.maxRows = max(c.maxRows, n)
	c.addCell(cellKey{bin(n, c.level), bin(u, c.level), bin(y, c.level)}, count, count*n, count*u, count*y)
}

func (c *cells) addCell(k cellKey, count, n, u, y float64) {
	i, ok := c.index[k]
	if !ok {
		if c.index == nil {
			c.index = make(map[cellKey]int32)
		}
		i = int32(len(c.key))
		c.index[k] = i
		c.key = append(c.key, k)
		c.count = append(c.count, 0)
		c.n = append(c.n, 0)
		c.u = append(c.u, 0)
		c.y = append(c.y, 0)
	}
	c.count[i] += count
	c.n[i] += n
	c.u[i] += u
	c.y[i] += y
	if len(c.key) > maxCells {
		c.coarsen(c.level + 1)
	}
}

// coarsen doubles the cells' widths until level.
func (c *cells) coarsen(level uint) {
	if level <= c.level {
		return
	}
	o := *c
	*c = cells{level: level, customers: o.customers, maxRows: o.maxRows, index: make(map[cellKey]int32, len(o.key)/2)}
	for i, k := range o.key {
		by := c.level - o.level // grows if the cells are still too many
		c.addCell(cellKey{k.n >> by, k.u >> by, k.y >> by}, o.count[i], o.n[i], o.u[i], o.y[i])
	}
}

func (c *cells) merge(o *cells) {
	c.coarsen(o.level)
	c.customers += o.customers
	c.maxRows = max(c.maxRows, o.maxRows)
	for i, k := range o.key {
		by := c.level - o.level // grows while c is filled
		c.addCell(cellKey{k.n >> by, k.u >> by, k.y >> by}, o.count[i], o.n[i], o.u[i], o.y[i])
	}
}

// width bounds the relative width of a cell: its points lie within width·|v|
// of one another, v any of them.
func (c *cells) width() float64 {
	if c.level <= mantissaBits {
		return math.Ldexp(1, int(c.level)-mantissaBits)
	}
	return math.Exp2(math.Ldexp(1, int(c.level)-mantissaBits)) - 1
}

// points returns each cell's number of customers and mean n, u and y.
func (c *cells) points() (count, n, u, y []float64) {
	k := len(c.key)
	buf := make([]float64, 3*k)
	n, u, y = buf[:k], buf[k:2*k], buf[2*k:]
	for i, m := range c.count {
		n[i], u[i], y[i] = c.n[i]/m, c.u[i]/m, c.y[i]/m
	}
	return c.count, n, u, y
}
