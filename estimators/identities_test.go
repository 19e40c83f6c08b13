package estimators

import (
	"math"
	"math/rand/v2"
	"testing"
)

// §8.2.
func TestIdentitiesOfTheCatalogue(t *testing.T) {
	w, r, q, qp, by := sample(71, 400, 3)
	zero, ones := make([]float64, len(w)), make([]float64, len(w))
	action, cluster := make([]int, len(w)), []int{3, 1, 2}
	var π, μ [][]float64
	own := make([]float64, len(w))
	rng := rand.New(rand.NewPCG(71, 1))
	propensity, probability := make([]float64, len(w)), make([]float64, len(w))
	for i := range w {
		ones[i] = 1
		a, b := 0.1+0.8*rng.Float64(), 0.1+0.8*rng.Float64()
		π, μ = append(π, []float64{a, (1 - a) / 2, (1 - a) / 2}), append(μ, []float64{b, (1 - b) / 3, 2 * (1 - b) / 3})
		action[i] = rng.IntN(3)
		probability[i], propensity[i] = π[i][action[i]], μ[i][action[i]]
		own[i] = probability[i] / propensity[i]
	}
	must := func(e Estimate, err error) Estimate {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	same := func(name string, got, want Estimate) {
		t.Helper()
		near(t, name, got.Value, want.Value, 1e-12)
		near(t, name+" se", got.StdErr, want.StdErr, 1e-12)
	}
	ips, dr, dm, snips := must(IPS(by, w, r)), must(DR(by, w, r, q, qp)), must(DM(by, qp)), must(SNIPS(by, w, r))
	inf := math.Inf(1)
	same("clipped at +Inf", must(ClippedIPS(by, w, r, inf)), ips)
	same("clipped DR at +Inf", must(ClippedDR(by, w, r, q, qp, inf)), dr)
	same("clipped DR at 0", must(ClippedDR(by, w, r, q, qp, 0)), dm)
	same("SWITCH at +Inf", must(SwitchDR(by, w, r, q, qp, inf)), dr)
	same("SWITCH at 0", must(SwitchDR(by, w, r, q, qp, 0)), dm)
	same("DRos at +Inf", must(DRos(by, w, r, q, qp, inf)), dr)
	same("DRos at 0", must(DRos(by, w, r, q, qp, 0)), dm)
	same("sub-Gaussian IPS at 0", must(SubGaussianIPS(by, w, r, 0)), ips)
	same("sub-Gaussian DR at 0", must(SubGaussianDR(by, w, r, q, qp, 0)), dr)
	same("log-smoothing at 0", must(LogSmoothing(by, w, r, 0)), ips)
	same("β-IPS at β = 0", must(FixedBetaIPS(by, w, r, 0)), ips)
	same("SNDR(q = 0)", must(SNDR(by, w, r, zero, zero)), snips)
	same("DRos(q = 0, +Inf)", must(DRos(by, w, r, zero, zero, inf)), ips)
	cw, err := ClusterWeights(π, μ, action, cluster)
	if err != nil {
		t.Fatal(err)
	}
	same("MIPS with e = a", must(MIPS(by, cw, r)), must(IPS(by, own, r)))
	same("OffCEM with c = a", must(OffCEM(by, cw, r, q, qp)), must(DR(by, own, r, q, qp)))
	cw, _ = ClusterWeights(π, μ, action, []int{5, 5, 5})
	same("OffCEM in one cluster, f = 0", must(OffCEM(by, cw, r, zero, zero)), must(IPS(by, ones, r)))
	bw, err := BalancedWeights(probability, [][]float64{propensity}, []float64{float64(len(w))})
	if err != nil {
		t.Fatal(err)
	}
	same("balanced with one logger", must(Balanced(by, bw, r)), must(IPS(by, own, r)))
	mean := must(IPS(by, ones, r))
	same("SNIPS(π = μ)", must(SNIPS(by, ones, r)), mean)
	same("β-IPS(π = μ)", must(BetaIPS(by, ones, r)), mean)
	same("sub-Gaussian IPS at 1 of positive weights", must(SubGaussianIPS(by, own, r, 1)), mean)
	same("adaptive AIPW with h constant", must(AdaptiveAIPW(by, ones, w, r, q, qp)), dr)
	agrees, third := make([]bool, len(w)), make([]float64, len(w))
	for i := range w {
		agrees[i], third[i] = w[i] > 0, 1.0/3
	}
	uniform := make([]float64, len(w))
	for i := range w {
		if agrees[i] {
			uniform[i] = 3
		}
	}
	same("replay", must(Replay(by, agrees, third, r)), must(SNIPS(by, uniform, r)))
	var lists, single [][]Slot
	for i := range w {
		lists = append(lists, []Slot{{Weight: w[i], Marginal: w[i], Reward: r[i], Q: q[i], QPolicy: qp[i]}})
		single = append(single, []Slot{{Weight: w[i], Marginal: w[i], Reward: r[i]}})
	}
	same("cascade-DR of one slot", must(CascadeDR(by, lists)), dr)
	same("position-wise IPS of one slot", must(PositionIPS(by, single)), ips)
	// Shrinkage is below its limit everywhere in between.
	for _, λ := range []float64{1e-300, 1e-3, 1, 1e300} {
		if s := shrunk(3, λ); !(s >= 0 && s <= 3) {
			t.Errorf("λ = %g: weight 3 becomes %g", λ, s)
		}
	}
	// A smaller baseline variance than IPS, on rewards with a level.
	far := make([]float64, len(r))
	for i := range r {
		far[i] = r[i] + 1000
	}
	b, i := must(BetaIPS(by, own, far)), must(IPS(by, own, far))
	if !(b.StdErr < i.StdErr/50) {
		t.Errorf("β-IPS has standard error %g, IPS %g", b.StdErr, i.StdErr)
	}
}
