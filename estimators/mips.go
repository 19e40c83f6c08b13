package estimators

import "math"

// ClusterWeights returns the marginal weight of each row's logged action,
//
//	w(x, e) = Σ_a π(a|x) p(e|a) / Σ_a μ(a|x) p(e|a) = E_μ[w | x, e]
//
// (Saito and Joachims 2022, arXiv 2202.06317, eq. 6), where every action has one
// embedding or cluster, p(e|a) = 1{cluster[a] = e}. π and μ hold each row's
// probabilities of all actions, action the logged one. Probabilities outside
// [0, 1] or that do not sum to 1 are a *RowError, and so is a logged cluster
// that the logger never takes.
func ClusterWeights(π, μ [][]float64, action []int, cluster []int) ([]float64, error) {
	sameLength(len(π), len(μ), len(action))
	w := make([]float64, len(π))
	for i := range π {
		sameLength(len(cluster), len(π[i]), len(μ[i]))
		for _, p := range []struct {
			name string
			p    []float64
		}{{"evaluation", π[i]}, {"logged", μ[i]}} {
			if err := checkDistribution(i, p.name, p.p); err != nil {
				return nil, err
			}
		}
		a := action[i]
		if a < 0 || a >= len(cluster) {
			return nil, rowErrorf(i, "action %d of %d", a, len(cluster))
		}
		var num, den float64
		for b, e := range cluster {
			if e == cluster[a] {
				num += π[i][b]
				den += μ[i][b]
			}
		}
		if den == 0 {
			return nil, rowErrorf(i, "the logger never takes an action of cluster %d, yet one was logged", cluster[a])
		}
		w[i] = num / den
	}
	return w, nil
}

// checkDistribution wants probabilities that sum to 1 within 1e-6.
func checkDistribution(row int, name string, p []float64) error {
	total := 0.0
	for a, x := range p {
		if !(x >= 0 && x <= 1) {
			return rowErrorf(row, "%s probability %v of action %d: it must be in [0, 1]", name, x, a)
		}
		total += x
	}
	if !(math.Abs(total-1) <= 1e-6) {
		return rowErrorf(row, "%s probabilities sum to %v", name, total)
	}
	return nil
}

// MIPS is marginalised IPS, M[w(x, e) r]: unbiased where the action acts on the
// reward through its embedding alone, with far smaller weights when actions are
// many (Saito and Joachims 2022, arXiv 2202.06317, eq. 7). clusterWeight is that
// of ClusterWeights; with an embedding per action it is IPS.
func MIPS(by Customers, clusterWeight, reward []float64) (Estimate, error) {
	sameLength(len(clusterWeight), len(reward))
	return NewMIPS().over(by, len(reward), func(i int, r *Row) { r.Cluster, r.Reward = clusterWeight[i], reward[i] })
}

// NewMIPS accumulates MIPS from Row.Cluster.
func NewMIPS() *Total {
	return &Total{kind: "mips", needs: needCluster | needReward, term: func(r *Row) (x, d float64) {
		return r.Cluster * r.Reward, 1
	}}
}
