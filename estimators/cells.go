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
	index cellIndex
	all   []cell

	customers float64
	maxRows   float64
}

// cell is what the points of one key sum to, side by side in memory: a customer
// touches one cell of each of many sketches.
type cell struct {
	key            cellKey
	count, n, u, y float64
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
	i, ok := c.index.find(c.all, k)
	if !ok {
		c.all = append(c.all, cell{key: k})
	}
	to := &c.all[i]
	to.count += count
	to.n += n
	to.u += u
	to.y += y
	if len(c.all) > maxCells {
		c.coarsen(c.level + 1)
	}
}

// addAll adds the cells of a sketch at a level that is at most c's.
func (c *cells) addAll(all []cell, level uint) {
	for i := range all {
		f := &all[i]
		by := c.level - level // grows while c is filled
		c.addCell(cellKey{f.key.n >> by, f.key.u >> by, f.key.y >> by}, f.count, f.n, f.u, f.y)
	}
}

// coarsen doubles the cells' widths until level.
func (c *cells) coarsen(level uint) {
	if level <= c.level {
		return
	}
	o := *c
	*c = cells{level: level, customers: o.customers, maxRows: o.maxRows}
	c.addAll(o.all, o.level)
}

func (c *cells) merge(o *cells) {
	c.coarsen(o.level)
	c.customers += o.customers
	c.maxRows = max(c.maxRows, o.maxRows)
	c.addAll(o.all, o.level)
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
	k := len(c.all)
	buf := make([]float64, 4*k)
	count, n, u, y = buf[:k], buf[k:2*k], buf[2*k:3*k], buf[3*k:]
	for i := range c.all {
		f := &c.all[i]
		count[i], n[i], u[i], y[i] = f.count, f.n/f.count, f.u/f.count, f.y/f.count
	}
	return count, n, u, y
}

// cellIndex finds the place of a key's cell by open addressing with linear
// probing: a few times as fast as a map, and asked for every customer.
type cellIndex struct {
	places []int32 // place + 1, 0: free; a power of two, at most half of it taken
	last   int32   // found last: many customers are alike
}

// find returns the place of k among all. Where it is not there, find notes that
// it will be appended and returns false.
func (x *cellIndex) find(all []cell, k cellKey) (place int32, ok bool) {
	if int(x.last) < len(all) && all[x.last].key == k {
		return x.last, true
	}
	if 2*len(all) >= len(x.places) {
		x.grow(all)
	}
	mask := uint64(len(x.places) - 1)
	for at := k.hash() & mask; ; at = (at + 1) & mask {
		switch i := x.places[at] - 1; {
		case i < 0:
			x.last = int32(len(all))
			x.places[at] = x.last + 1
			return x.last, false
		case all[i].key == k:
			x.last = i
			return i, true
		}
	}
}

func (x *cellIndex) grow(all []cell) {
	x.places = make([]int32, max(64, 2*len(x.places)))
	mask := uint64(len(x.places) - 1)
	for i := range all {
		at := all[i].key.hash() & mask
		for x.places[at] != 0 {
			at = (at + 1) & mask
		}
		x.places[at] = int32(i) + 1
	}
}

func (k cellKey) hash() uint64 {
	return mix((uint64(k.n)<<32|uint64(k.u))*golden64 + uint64(k.y))
}
