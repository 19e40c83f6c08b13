package offline

import "nextbest"

// modelRows gathers what a reward model is fitted to, by the part of the log (a
// fold of customers, or a block of time) that a row belongs to.
type modelRows struct {
	model  *modelStatistics
	sample *logisticSample // nil unless the reward model is logistic
	z      []float64       // scratch (1, x, r)
}

func newModelRows(req *Request, parts, width int) modelRows {
	m := modelRows{model: newModelStatistics(parts, width), z: make([]float64, width+2)}
	m.model.forward = req.CrossFit == crossFitTime
	if req.RewardModel == modelLogistic {
		m.sample = &logisticSample{forward: m.model.forward}
	}
	return m
}

// widen gives the model features after rows that had none.
func (m *modelRows) widen(width int) {
	m.model.widen(width)
	m.z = make([]float64, width+2)
}

// add takes row i of a part and reports whether the row has the model's features.
func (m *modelRows) add(b *nextbest.Batch, i int, part uint8, taken int32, reward float64) bool {
	m.z[0] = 1
	whole := features(m.z[1:len(m.z)-1], b, i)
	m.z[len(m.z)-1] = reward
	m.model.at(int(part), taken).add(m.z)
	if m.sample != nil {
		var x []float32
		if whole {
			x = b.X[i*b.Width : (i+1)*b.Width]
		}
		m.sample.add(sampleKey(b.Decision[i], int(taken)), part, taken, x, reward)
	}
	return whole
}

func (m *modelRows) merge(o *modelRows) {
	m.model.merge(o.model)
	if m.sample != nil {
		m.sample.merge(o.sample)
	}
}

// fit fits the model that predicts every part; s says what rewards the log has.
func (m *modelRows) fit(req *Request, s *study, actions int, lowest, highest float64) (*rewardModel, error) {
	model := m.model.fit(actions, req.Ridge, lowest, highest)
	if m.sample != nil {
		if s.other > 0 {
			return nil, nextbest.FieldErrorf("reward_model", "logistic predicts rewards of 0 and 1, and %d rows have others; take %s", s.other, modelRidge)
		}
		m.sample.fit(model, len(m.model.folds), req.Ridge)
	}
	return model, nil
}
