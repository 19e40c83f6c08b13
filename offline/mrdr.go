package offline

// mrdrStatistics gather what the reward model of a candidate's MRDR is fitted to:
// the same ridge regressions as the usual model's, of each action, with rows
// weighed by
//
//	π(a|x)²(1 − μ(a|x))/μ(a|x)² = w²(1 − μ)
//
// what an error of q(x, a) adds to the variance of DR (the diagonal of
// Farajtabar, Chow and Ghavamzadeh 2018, arXiv 1802.03493, eq. 13; eq. 14 and
// estimators.MRDRWeights where the candidate is certain). The full form, with the
// terms between actions, has a matrix of (actions × features)² numbers for each
// candidate and part; this one costs what the usual model costs. Cross-fitted, so
// DR by it is unbiased whatever the weights.
type mrdrStatistics struct {
	model *modelStatistics
	rows  [][]float64 // [part][action]
	z     []float64
}

func newMRDRStatistics(parts, width int, forward bool) *mrdrStatistics {
	s := &mrdrStatistics{model: newModelStatistics(parts, width), rows: make([][]float64, parts), z: make([]float64, width+2)}
	s.model.forward = forward
	return s
}

// add takes a row with the features x; weight is π/μ of its action.
func (s *mrdrStatistics) add(part uint8, taken int32, x []float64, reward, weight, propensity float64) {
	ω := weight * weight * (1 - propensity)
	if !(ω > 0) {
		return // it adds nothing to the variance
	}
	s.z[0] = 1
	copy(s.z[1:], x)
	s.z[len(s.z)-1] = reward
	s.model.at(int(part), taken).addWeighted(s.z, ω)
	for int(taken) >= len(s.rows[part]) {
		s.rows[part] = append(s.rows[part], 0)
	}
	s.rows[part][taken]++
}

func (s *mrdrStatistics) merge(o *mrdrStatistics) {
	s.model.merge(o.model)
	for part, rows := range o.rows {
		for len(s.rows[part]) < len(rows) {
			s.rows[part] = append(s.rows[part], 0)
		}
		for a, n := range rows {
			s.rows[part][a] += n
		}
	}
}

// fit fits the models. Weights reach the inverse of the square of the floor, so
// they are scaled to 1 on average: ridge then counts as many rows as it says.
func (s *mrdrStatistics) fit(actions int, ridge, lowest, highest float64) *rewardModel {
	var n, sum float64
	for part, rows := range s.rows {
		for a, k := range rows {
			if m := s.model.folds[part]; a < len(m) && m[a] != nil {
				n += k
				sum += m[a][0]
			}
		}
	}
	if sum > 0 {
		ridge *= sum / n
	}
	return s.model.fit(actions, ridge, lowest, highest)
}

// addWeighted adds one row that counts for weight; z is (1, x, r).
func (m moments) addWeighted(z []float64, weight float64) {
	at := 0
	for i, zi := range z {
		row, v := m[at:at+i+1], weight*zi
		for j := range row {
			row[j] += float64(v * z[j])
		}
		at += i + 1
	}
}
