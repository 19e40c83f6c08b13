package logging

import (
	"sync"
	"testing"

	"nextbest/internal/embedded/enginetest"
)

// TestReplicasMigrateAtOnce opens one empty database from several replicas at
// the same moment.
func TestReplicasMigrateAtOnce(t *testing.T) {
	for range 3 {
		url := enginetest.ClickHouse(t)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				s, err := OpenStore(t.Context(), url)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}
