package logging

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"nextbest"
	"nextbest/internal/embedded/enginetest"
)

func TestOpenStoreMigrates(t *testing.T) {
	url := enginetest.ClickHouse(t)
	steps, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time finds everything there
		s, err := OpenStore(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		var applied uint64
		queryRow(t, s, "SELECT count() FROM schema_migrations", &applied)
		if applied != uint64(len(steps)) {
			t.Errorf("%d steps are recorded, want %d", applied, len(steps))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := OpenStore(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var bare []string
	queryRow(t, s, `SELECT groupArray(concat(table, '.', name)) FROM system.columns WHERE database = currentDatabase() AND comment = ''`, &bare)
	if len(bare) > 0 {
		t.Errorf("columns without a comment: %s", strings.Join(bare, ", "))
	}
	var undescribed []string
	queryRow(t, s, `SELECT groupArray(name) FROM system.tables WHERE database = currentDatabase() AND comment = ''`, &undescribed)
	if len(undescribed) > 0 {
		t.Errorf("tables without a comment: %s", strings.Join(undescribed, ", "))
	}
	// A crash between the steps and their record repeats them.
	if err := s.conn.Exec(t.Context(), "TRUNCATE TABLE schema_migrations"); err != nil {
		t.Fatal(err)
	}
	if err := migrate(t.Context(), s.conn); err != nil {
		t.Errorf("repeating the steps: %v", err)
	}
	if err := s.conn.Exec(t.Context(), "INSERT INTO schema_migrations (number, name) VALUES (9999, 'future')"); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(t.Context(), url); nextbest.CodeOf(err) != nextbest.Conflict {
		t.Errorf("a database of a newer program: %v", err)
	}
}

func TestOpenStoreRefuses(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for url, code := range map[string]nextbest.Code{
		"::":                                nextbest.Invalid,
		"http://127.0.0.1:8123/nextbest":    nextbest.Invalid,
		"clickhouse://127.0.0.1:1/a-b":      nextbest.Invalid,
		"clickhouse://127.0.0.1:1/nextbest": nextbest.Unavailable,
		strings.Replace(enginetest.ClickHouse(t), "app:", "app:wrong", 1): nextbest.Internal,
	} {
		if _, err := OpenStore(ctx, url); nextbest.CodeOf(err) != code {
			t.Errorf("%s: %v (%s), want %s", url, err, nextbest.CodeOf(err), code)
		}
	}
}

// Who waits for a connection that others have is not told that ClickHouse is away.
func TestBusyConnections(t *testing.T) {
	err := storeError("answer a statement", fmt.Errorf("query: %w", clickhouse.ErrAcquireConnTimeout))
	if nextbest.CodeOf(err) != nextbest.Unavailable || !strings.Contains(err.Error(), "try again") || strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
}
