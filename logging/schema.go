package logging

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"nextbest"
)

// The names of the raw tables. Everybody else reads the views.
const (
	tableDecisions     = "decisions_raw"
	tableImpressions   = "impressions_raw"
	tableRewards       = "rewards_raw"
	tableRewardReports = "reward_reports_raw"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one numbered step of the schema. Its statements may be repeated
// without harm, because two replicas may start at the same moment and because a
// crash may come between a step and its record.
type migration struct {
	number     uint32
	name       string
	statements []string
}

var migrationName = regexp.MustCompile(`^([0-9]{4})_([a-z0-9_]+)\.sql$`)

// migrations returns the steps that this program knows, in order.
func migrations() ([]migration, error) {
	files, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	sort.Strings(files)
	var all []migration
	for i, file := range files {
		m := migrationName.FindStringSubmatch(strings.TrimPrefix(file, "migrations/"))
		if m == nil {
			return nil, fmt.Errorf("migration %s: the name must look like 0001_tables.sql", file)
		}
		n, err := strconv.ParseUint(m[1], 10, 32)
		if err != nil || int(n) != i+1 {
			return nil, fmt.Errorf("migration %s: the numbers must be 0001, 0002 … without a gap", file)
		}
		text, err := migrationFiles.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all = append(all, migration{number: uint32(n), name: m[2], statements: splitStatements(string(text))})
	}
	return all, nil
}

// splitStatements cuts a script at the semicolons that end a line and leaves
// out comment lines.
func splitStatements(script string) []string {
	var statements []string
	var b strings.Builder
	for line := range strings.Lines(script) {
		if strings.HasPrefix(strings.TrimSpace(line), "--") {
			continue
		}
		b.WriteString(line)
		if strings.HasSuffix(strings.TrimSpace(line), ";") {
			statements = append(statements, strings.TrimSuffix(strings.TrimSpace(b.String()), ";"))
			b.Reset()
		}
	}
	if rest := strings.TrimSpace(b.String()); rest != "" {
		statements = append(statements, rest)
	}
	return statements
}

const createMigrations = `CREATE TABLE IF NOT EXISTS schema_migrations
(
    number  UInt32 COMMENT 'Number of the step',
    name    String COMMENT 'Name of the step',
    applied DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When it was applied (UTC)'
)
ENGINE = ReplacingMergeTree
ORDER BY number
COMMENT 'Steps of the schema that were applied to this database'`

// migrate brings the connection's database to this program's schema. A database
// that a newer program has migrated is refused. Where another replica does the
// same at this moment the two get into each other's way; the steps can be
// repeated, so the one that fails does them again.
func migrate(ctx context.Context, conn driver.Conn) error {
	for try := 1; ; try++ {
		err := migrateOnce(ctx, conn)
		if err == nil || try == migrationTries || !crossed(err) {
			return err
		}
		select {
		case <-time.After(time.Duration(try) * (50*time.Millisecond + rand.N(50*time.Millisecond))):
		case <-ctx.Done():
			return err
		}
	}
}

const migrationTries = 12

// errCannotRename is an error of ClickHouse that ch-go has no name for:
// "paths cannot be exchanged" where CREATE OR REPLACE VIEW meets
// another.
const errCannotRename = proto.Error(521)

// crossed reports whether an error may come of two replicas that change the
// schema at once.
func crossed(err error) bool {
	switch proto.Error(code(err)) {
	case proto.ErrCannotAssignAlter, proto.ErrTableAlreadyExists, proto.ErrUnknownTable, proto.ErrTableIsDropped, errCannotRename:
		return true
	}
	return false
}

func migrateOnce(ctx context.Context, conn driver.Conn) error {
	steps, err := migrations()
	if err != nil {
		return nextbest.Errorf(nextbest.Internal, "ClickHouse schema: %w", err)
	}
	if err := conn.Exec(ctx, createMigrations); err != nil {
		return storeError("create schema_migrations", err)
	}
	var applied []uint32
	if err := conn.QueryRow(ctx, "SELECT groupUniqArray(number) FROM schema_migrations").Scan(&applied); err != nil {
		return storeError("read schema_migrations", err)
	}
	done := make(map[uint32]bool)
	for _, n := range applied {
		done[n] = true
		if int(n) > len(steps) {
			return nextbest.Errorf(nextbest.Conflict, "the ClickHouse database has schema step %d and this program knows %d: a newer program has migrated it, so start that one", n, len(steps))
		}
	}
	for _, step := range steps {
		if done[step.number] {
			continue
		}
		for _, statement := range step.statements {
			if err := conn.Exec(ctx, statement); err != nil {
				return storeError(fmt.Sprintf("schema step %04d_%s", step.number, step.name), err)
			}
		}
		if err := describeViews(ctx, conn); err != nil {
			return err
		}
		if err := conn.Exec(ctx, "INSERT INTO schema_migrations (number, name) SETTINGS async_insert = 0 VALUES (?, ?)", step.number, step.name); err != nil {
			return storeError("record schema step", err)
		}
	}
	return nil
}

// derivedComments describes the view columns that no raw table has.
var derivedComments = map[string]string{
	"placement_id":  "Placement without its version",
	"experiment_id": "Experiment without its version",
	"reason":        "unknown_decision, before_decision, unknown_customer or before_first_decision",
}

// describeViews gives the columns of the views the comments of the columns
// they come from, so that a client that shows comments shows them everywhere.
func describeViews(ctx context.Context, conn driver.Conn) error {
	rows, err := conn.Query(ctx, `
SELECT c.table, c.name, c.comment, t.engine = 'View'
FROM system.columns AS c
INNER JOIN system.tables AS t ON c.database = t.database AND c.table = t.name
WHERE c.database = currentDatabase()
ORDER BY c.table, c.position`)
	if err != nil {
		return storeError("read system.columns", err)
	}
	defer rows.Close()
	comments := make(map[string]string) // table.column of the raw tables
	type column struct{ table, name string }
	var missing []column
	for rows.Next() {
		var table, name, comment string
		var view bool
		if err := rows.Scan(&table, &name, &comment, &view); err != nil {
			return storeError("read system.columns", err)
		}
		if !view {
			comments[strings.TrimSuffix(table, "_raw")+"."+name] = comment
		} else if comment == "" {
			missing = append(missing, column{table, name})
		}
	}
	if err := rows.Err(); err != nil {
		return storeError("read system.columns", err)
	}
	alter := make(map[string][]string)
	for _, c := range missing {
		source := c.table
		if source == "unmatched_rewards" {
			source = "rewards"
		}
		text := comments[source+"."+c.name]
		if text == "" {
			text = derivedComments[c.name]
		}
		if text != "" {
			alter[c.table] = append(alter[c.table], fmt.Sprintf("COMMENT COLUMN `%s` '%s'", c.name, strings.ReplaceAll(text, "'", `\'`)))
		}
	}
	for view, changes := range alter {
		if err := conn.Exec(ctx, "ALTER TABLE `"+view+"` "+strings.Join(changes, ", ")); err != nil {
			return storeError("describe the columns of view "+view, err)
		}
	}
	return nil
}
