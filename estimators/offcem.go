package estimators

// OffCEM weighs clusters of actions and leaves the differences within a cluster
// to a model, M[w(x, c(a))(r − f(x, a)) + f_π(x)] (Saito, Ren and Joachims 2023,
// arXiv 2305.08062, eq. 7). It is unbiased when f gets the differences between
// actions of a cluster right, however wrong its level. clusterWeight is that of
// ClusterWeights. With one action per cluster it is DR.
func OffCEM(by Customers, clusterWeight, reward, f, fPolicy []float64) (Estimate, error) {
	sameLength(len(clusterWeight), len(reward), len(f), len(fPolicy))
	return NewOffCEM().over(by, len(reward), func(i int, r *Row) {
		r.Cluster, r.Reward, r.Q, r.QPolicy = clusterWeight[i], reward[i], f[i], fPolicy[i]
	})
}

// NewOffCEM accumulates OffCEM from Row.Cluster, Q and QPolicy.
func NewOffCEM() *Total {
	return &Total{kind: "offcem", needs: needCluster | needReward | needModel, term: func(r *Row) (x, d float64) {
		return r.QPolicy + r.Cluster*(r.Reward-r.Q), 1
	}}
}
