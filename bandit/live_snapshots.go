package bandit

// liveSnapshots is the live policy of algorithms whose parameters are derived
// from all actions' sums together and cannot be turned by one row. It takes a
// snapshot when it is asked, but only after the rows have grown by 1/32 (every
// row at first), so that n rows cost O(log n) snapshots; of rows that fade, after
// 1/32 of their weight is new.
type liveSnapshots struct {
	learner  *Learner
	policy   Policy
	due      int64 // the learner's changes at which a new snapshot is taken
	index    map[string]int32
	actions  []string
	arms     []int32 // the snapshot's arm of each action
	eligible []int32 // scratch
}

func newLiveSnapshots(l *Learner) (*liveSnapshots, error) {
	v := &liveSnapshots{learner: l, index: map[string]int32{}}
	return v, v.refresh()
}

// refresh takes a snapshot if one is due.
func (v *liveSnapshots) refresh() error {
	if v.policy != nil && v.learner.changes < v.due {
		return nil
	}
	m := v.learner.Model()
	p, err := New(v.learner.spec, m)
	if err != nil {
		return err
	}
	v.policy, v.due = p, v.learner.changes+1+min(v.learner.changes, int64(m.Rows()))/32
	for i, action := range v.actions {
		v.arms[i] = p.Arm(action)
	}
	return nil
}

// Arm numbers the actions as they are asked for.
func (v *liveSnapshots) Arm(action string) int32 {
	i, ok := v.index[action]
	if !ok {
		i = int32(len(v.actions))
		v.index[action] = i
		v.actions, v.arms = append(v.actions, action), append(v.arms, v.policy.Arm(action))
	}
	return i
}

func (v *liveSnapshots) Floor(k int) float64 { return v.policy.Floor(k) }

func (v *liveSnapshots) Distribution(p, scores []float64, r *Request) error {
	if err := v.refresh(); err != nil {
		return err
	}
	v.eligible = v.eligible[:0]
	for _, i := range r.Arms {
		arm := int32(-1)
		if i >= 0 {
			arm = v.arms[i]
		}
		v.eligible = append(v.eligible, arm)
	}
	inner := *r
	inner.Arms = v.eligible
	return v.policy.Distribution(p, scores, &inner)
}
