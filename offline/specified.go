package offline

import (
	"encoding/json"
	"time"

	"nextbest"
)

// Specified is a candidate that is not registered: its policy specification,
// and what it learned from where it learns.
type Specified struct {
	Name    string          `json:"name"`
	Spec    json.RawMessage `json:"spec"` // every parameter given
	Trained *Trained        `json:"trained,omitempty"`
}

// Trained says which rows of the report's placement and source a candidate
// learned from, by the report's objective: decisions of the split's customers
// with From ≤ time < To whose window had closed at MatureAt, as the log was at
// the report's position, without rows set aside.
type Trained struct {
	From     time.Time       `json:"from,omitzero"`
	To       time.Time       `json:"to,omitzero"`
	MatureAt time.Time       `json:"mature_at"`
	Split    *nextbest.Split `json:"split,omitempty"`
	Rows     int64           `json:"rows"`
	// Unusable rows do not fit the features and were not learned from.
	Unusable int64 `json:"unusable,omitempty"`
}
