package estimators

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat/distuv"
)

// BootstrapConversions is the least number of converting customers of whom a
// percentile bootstrap says anything: its coverage is .63 at two of them and .93
// at 23.
const BootstrapConversions = 100

// ErrFewConversions is returned where an interval is refused because too few
// customers converted.
var ErrFewConversions = errors.New("too few converting customers for this interval: use empirical likelihood, or log for longer")

// Replicates is the usual number of bootstrap replicates.
const Replicates = 1000

// PoissonBootstrap resamples customers: in each replicate a customer counts k
// times, k ~ Poisson(1) (Chamandy, Muralidharan, Najmi and Naidu 2012, Estimating
// Uncertainty for Massive Data Streams; Hanley and MacGibbon 2006). The counts are
// a hash of (seed, customer, replicate), so that splits and order do not matter
// and several estimators see the same replicates. It keeps sums only: whatever is
// a function of a few sums over customers can be bootstrapped, numerator and
// denominator together.
type PoissonBootstrap struct {
	seed        uint64
	replicates  int
	sums        [][]float64 // by sum, then replicate
	total       []float64
	count       []float64 // scratch: the counts of one customer
	customers   int64
	conversions int64
}

// NewPoissonBootstrap returns an empty bootstrap of so many sums per customer.
func NewPoissonBootstrap(sums, replicates int, seed uint64) *PoissonBootstrap {
	b := &PoissonBootstrap{seed: mix(seed), replicates: replicates, total: make([]float64, sums), count: make([]float64, (replicates+7)&^7)}
	for range sums {
		b.sums = append(b.sums, make([]float64, replicates))
	}
	return b
}

// Add adds one customer with the sums v. id is the customer's for ever, such as
// a hash of the pseudonym; converted says whether a reward that counts followed.
func (b *PoissonBootstrap) Add(id uint64, v []float64, converted bool) {
	sameLength(len(b.total), len(v))
	b.customers++
	if converted {
		b.conversions++
	}
	poissonCounts(b.count, mix(id^b.seed))
	for j, x := range v {
		b.total[j] += x
		if x != 0 {
			floats.AddScaled(b.sums[j], x, b.count[:b.replicates])
		}
	}
}

// AddMany adds count customers that are alike: together they count
// k ~ Poisson(count) times in a replicate. id is the group's.
func (b *PoissonBootstrap) AddMany(id uint64, count int, v []float64, converted bool) {
	sameLength(len(b.total), len(v))
	if count == 0 {
		return
	}
	b.customers += int64(count)
	if converted {
		b.conversions += int64(count)
	}
	k := distuv.Poisson{Lambda: float64(count), Src: rand.NewPCG(b.seed, mix(id))}
	for i := range b.count {
		b.count[i] = k.Rand()
	}
	for j, x := range v {
		b.total[j] += float64(count) * x
		if x != 0 {
			floats.AddScaled(b.sums[j], x, b.count[:b.replicates])
		}
	}
}

// Merge adds o's customers; seeds and sizes that differ panic.
func (b *PoissonBootstrap) Merge(o *PoissonBootstrap) {
	if b.seed != o.seed || b.replicates != o.replicates || len(b.sums) != len(o.sums) {
		panic("estimators: merged bootstraps differ in seed or size")
	}
	b.customers += o.customers
	b.conversions += o.conversions
	floats.Add(b.total, o.total)
	for j := range b.sums {
		floats.Add(b.sums[j], o.sums[j])
	}
}

// Estimate returns f of the customers' sums, its bootstrap standard error and
// percentile interval. f gets the sums in the order of Add. Replicates in which f
// is not a number are left out.
func (b *PoissonBootstrap) Estimate(f func(sums []float64) float64, level float64) (Estimate, Interval, error) {
	if b.customers == 0 {
		return Estimate{}, Interval{}, ErrEmpty
	}
	e := Estimate{Value: f(b.total), StdErr: math.NaN(), Customers: b.customers}
	if b.conversions < BootstrapConversions {
		return e, Interval{}, ErrFewConversions
	}
	v := b.values(f)
	if len(v) < 2 || math.IsNaN(e.Value) {
		return Estimate{}, Interval{}, ErrNoWeight
	}
	var r Ratio
	for _, x := range v {
		r.Add(x, 1)
	}
	spread, _ := r.Estimate()
	e.StdErr = spread.StdErr * math.Sqrt(float64(len(v)))
	return e, Interval{Low: percentile(v, 0.5-level/2), High: percentile(v, 0.5+level/2)}, nil
}

// values returns f of every replicate, sorted.
func (b *PoissonBootstrap) values(f func(sums []float64) float64) []float64 {
	at := make([]float64, len(b.sums))
	v := make([]float64, 0, b.replicates)
	for k := range b.replicates {
		for j := range at {
			at[j] = b.sums[j][k]
		}
		if x := f(at); !math.IsNaN(x) {
			v = append(v, x)
		}
	}
	slices.Sort(v)
	return v
}

// percentile interpolates between the sorted values.
func percentile(sorted []float64, p float64) float64 {
	at := p * float64(len(sorted)-1)
	k := min(int(at), len(sorted)-2)
	a, b := sorted[k], sorted[k+1]
	switch {
	case a == b || math.IsInf(a, 0):
		return a
	case math.IsInf(b, 0):
		return b
	}
	return a + (at-float64(k))*(b-a)
}

// Bootstrap is the percentile interval of Σnumerator/Σdenominator over rows by
// the Poisson bootstrap, customers being numbered in their order: IPS with ones
// below, SNIPS with weights. Customers whose numerator is not 0 are conversions.
func Bootstrap(by Customers, numerator, denominator []float64, replicates int, seed uint64, level float64) (Estimate, Interval, error) {
	sameLength(len(numerator), len(denominator))
	for _, v := range [2][]float64{numerator, denominator} {
		if err := checkFinite("value", v); err != nil {
			return Estimate{}, Interval{}, err
		}
	}
	b := NewPoissonBootstrap(2, replicates, seed)
	id := uint64(0)
	by.each(len(numerator), func(lo, hi int) {
		x, d := sum(numerator[lo:hi]), sum(denominator[lo:hi])
		b.Add(id, []float64{x, d}, x != 0)
		id++
	})
	return b.Estimate(func(s []float64) float64 { return s[0] / s[1] }, level)
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// golden64 is SplitMix64's increment.
const golden64 = 0x9e3779b97f4a7c15

// poissonEscape is the first of the bytes that need more than a byte to decide.
const poissonEscape = 253

// poissonByte holds the counts of the other bytes, as many of each as the whole
// part of 256·P(k), and poissonRest the rest of P, cumulative, for the last three:
// the law is exact to 2⁻⁵³.
var poissonByte, poissonRest = func() (table [256]float64, rest [20]float64) {
	p, at, left := math.Exp(-1), 0, 0.0
	for k := range rest {
		whole := math.Floor(256 * p)
		for range int(whole) {
			table[at] = float64(k)
			at++
		}
		left += 256*p - whole
		rest[k] = left / (256 - poissonEscape)
		p /= float64(k + 1)
	}
	if at != poissonEscape {
		panic("estimators: Poisson table")
	}
	return
}()

// poissonCounts fills a multiple of 8 Poisson(1) counts, eight from each value of
// a counter-based generator.
func poissonCounts(count []float64, key uint64) {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for i := 0; i+8 <= len(count); i += 8 {
		key += golden64
		z := mix(key)
		c := count[i : i+8 : i+8]
		c[0] = poissonByte[z&255]
		c[1] = poissonByte[z>>8&255]
		c[2] = poissonByte[z>>16&255]
		c[3] = poissonByte[z>>24&255]
		c[4] = poissonByte[z>>32&255]
		c[5] = poissonByte[z>>40&255]
		c[6] = poissonByte[z>>48&255]
		c[7] = poissonByte[z>>56]
		// Some byte of ^z is below 3.
		if y := ^z; (y-(256-poissonEscape)*ones)&z&tops != 0 {
			for j := range c {
				if z>>(8*j)&255 >= poissonEscape {
					c[j] = poissonTail(mix(key ^ uint64(j+1)*0xd1342543de82ef95))
				}
			}
		}
	}
}

func poissonTail(z uint64) float64 {
	u := float64(z>>11) * 0x1p-53
	for k, c := range poissonRest {
		if u < c {
			return float64(k)
		}
	}
	return float64(len(poissonRest))
}
