//go:build linux && amd64

package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"nextbest/internal/embedded"
	"nextbest/internal/embedded/enginetest"
)

// ownerVariable makes a copy of the test program start an engine in the named
// folder, print its process id, and wait to be killed.
const ownerVariable = "NEXTBEST_TEST_OWNER"

func TestMain(m *testing.M) {
	embedded.ChildMain()
	if dir := os.Getenv(ownerVariable); dir != "" {
		own(dir)
	}
	enginetest.Main(m)
}

func own(dir string) {
	library, err := embedded.FetchLibrary(context.Background(), nil)
	if err == nil {
		var ch *embedded.ClickHouse
		if ch, err = embedded.StartClickHouse(context.Background(), embedded.ClickHouseOptions{Dir: dir, Library: library, Logger: quiet()}); err == nil {
			fmt.Println(ch.Pid())
			select {}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// connect opens a connection to an engine's address.
func connect(t *testing.T, url string) driver.Conn {
	t.Helper()
	o, err := clickhouse.ParseDSN(url)
	if err != nil {
		t.Fatal(err)
	}
	o.Auth.Database = "" // it may not exist yet
	conn, err := clickhouse.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func exec1(t *testing.T, conn driver.Conn, sql string) {
	t.Helper()
	if err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// TestKilledEngineComesBack kills the engine with what it had acknowledged, and
// expects the same address, the same password and the same rows.
func TestKilledEngineComesBack(t *testing.T) {
	ch := enginetest.NewClickHouse(t)
	conn := connect(t, ch.URL())
	exec1(t, conn, "CREATE DATABASE nextbest")
	exec1(t, conn, "CREATE TABLE nextbest.t (n UInt64) ENGINE = ReplacingMergeTree ORDER BY n SETTINGS fsync_after_insert = 1, fsync_part_directory = 1")
	exec1(t, conn, "INSERT INTO nextbest.t SELECT number FROM numbers(1000)")
	address, pid := ch.URL(), ch.Pid()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var n uint64
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := conn.QueryRow(t.Context(), "SELECT count() FROM nextbest.t FINAL").Scan(&n)
		if err == nil && ch.Restarts() > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the engine did not come back: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if n != 1000 {
		t.Errorf("%d rows after the kill, want 1000", n)
	}
	if ch.URL() != address || ch.Pid() == pid || ch.Restarts() != 1 {
		t.Errorf("address changed: %t, process %d then %d, %d restarts", ch.URL() != address, pid, ch.Pid(), ch.Restarts())
	}
}

// TestStrangersAreKeptOut tries the ways in that a local user has, and expects
// the engine to refuse them and to live on.
func TestStrangersAreKeptOut(t *testing.T) {
	url := enginetest.ClickHouse(t)
	o, err := clickhouse.ParseDSN(url)
	if err != nil {
		t.Fatal(err)
	}
	attempt := func(user, password string) error {
		conn, err := clickhouse.Open(&clickhouse.Options{Addr: o.Addr, Auth: clickhouse.Auth{Username: user, Password: password}})
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Ping(t.Context())
	}
	for range 3 {
		if err := attempt("app", "wrong"); code(err) != 516 {
			t.Errorf("wrong password: %v, want code 516", err)
		}
		if err := attempt("default", ""); code(err) != 700 {
			t.Errorf("bootstrap user: %v, want code 700", err)
		}
	}
	if err := attempt("app", o.Auth.Password); err != nil {
		t.Errorf("the engine is gone after a wrong password: %v", err)
	}
	conn := connect(t, url)
	for _, sql := range []string{
		"SELECT * FROM file('/etc/passwd', 'LineAsString')",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
		"SELECT * FROM remote('127.0.0.1', 'system.one')",
		"SYSTEM SHUTDOWN",
		"CREATE DATABASE elsewhere",
		"CREATE TABLE default.t (n UInt8) ENGINE = Memory",
		"CREATE USER other",
	} {
		if err := conn.Exec(t.Context(), sql); code(err) != 497 {
			t.Errorf("%s: %v, want code 497 (not enough privileges)", sql, err)
		}
	}
}

// TestApplicationRights runs what the application needs.
func TestApplicationRights(t *testing.T) {
	url := enginetest.ClickHouse(t)
	o, err := clickhouse.ParseDSN(url)
	if err != nil {
		t.Fatal(err)
	}
	d := o.Auth.Database
	conn := connect(t, url)
	for _, sql := range []string{
		"CREATE DATABASE %d",
		"CREATE TABLE %d.a (k UInt64, t DateTime64(6), v Float64) ENGINE = MergeTree ORDER BY (k, t)",
		"CREATE TABLE %d.r (k UInt64, version UInt64) ENGINE = ReplacingMergeTree(version) ORDER BY k",
		"CREATE TABLE %d.m (k UInt64) ENGINE = Memory",
		"CREATE VIEW %d.v AS SELECT * FROM %d.r FINAL",
		"INSERT INTO %d.a SELECT number, now64(6), number FROM numbers(10)",
		"INSERT INTO %d.r SELECT number, 1 FROM numbers(10)",
		"SELECT * FROM %d.a AS a ASOF JOIN (SELECT k, now64(6) - 60 AS t FROM %d.v) AS b ON a.k = b.k AND a.t >= b.t",
		"CREATE TEMPORARY TABLE ids (id UInt64)",
		"ALTER TABLE %d.a ADD COLUMN w Float64",
		"OPTIMIZE TABLE %d.r FINAL",
		"SELECT sum(bytes_on_disk) FROM system.parts WHERE database = '%d'",
		"SELECT name FROM system.tables WHERE database = '%d'",
		"SELECT free_space FROM system.disks",
		"TRUNCATE TABLE %d.m",
		"DROP TABLE %d.m",
	} {
		exec1(t, conn, strings.ReplaceAll(sql, "%d", d))
	}
	var async string
	if err := conn.QueryRow(t.Context(), "SELECT value FROM system.settings WHERE name = 'async_insert'").Scan(&async); err != nil || async != "0" {
		t.Errorf("async_insert is %q (%v), want 0: an insert must be there when it is acknowledged", async, err)
	}
}

// TestMemoryIsBounded asks for more than the engine may take and expects the
// query to fail, not the engine.
func TestMemoryIsBounded(t *testing.T) {
	conn := connect(t, enginetest.ClickHouse(t))
	if err := conn.Exec(t.Context(), "SELECT groupArray(number) FROM numbers(1000000000) SETTINGS max_memory_usage = 0, max_bytes_ratio_before_external_group_by = 0, max_threads = 1"); code(err) != 241 {
		t.Errorf("%v, want code 241 (memory limit exceeded)", err)
	}
	if err := conn.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestEngineDiesWithItsOwner kills a program that owns an engine.
func TestEngineDiesWithItsOwner(t *testing.T) {
	dir := t.TempDir()
	owner := exec.Command("/proc/self/exe")
	owner.Env = append(os.Environ(), ownerVariable+"="+dir)
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		owner.Process.Kill()
		owner.Wait()
		t.Fatalf("the owner said %q", line)
	}

	// While it lives, its folder is taken.
	_, err = start(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), strconv.Itoa(owner.Process.Pid)) {
		t.Errorf("a second engine on one folder: %v; want a refusal that names folder and process", err)
	}

	owner.Process.Kill()
	owner.Wait()
	for deadline := time.Now().Add(5 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the engine outlived its owner by 5 s")
		}
	}

	// And then the folder is free again, with the state it was left in.
	ch, err := start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "users.xml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("users.xml: %v, %v; want mode 0600", info.Mode(), err)
	}
	if err := ch.Close(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(ch.Pid(), 0); err == nil {
		t.Error("the engine lives on after Close")
	}
}

func start(ctx context.Context, dir string) (*embedded.ClickHouse, error) {
	library, err := embedded.FetchLibrary(ctx, nil)
	if err != nil {
		return nil, err
	}
	return embedded.StartClickHouse(ctx, embedded.ClickHouseOptions{Dir: dir, Library: library, Logger: quiet()})
}

// TestNotALibrary expects the loader's words and a way out.
func TestNotALibrary(t *testing.T) {
	file := filepath.Join(t.TempDir(), "libchdb.so")
	if err := os.WriteFile(file, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := embedded.StartClickHouse(t.Context(), embedded.ClickHouseOptions{Dir: t.TempDir(), Library: file, Logger: quiet()})
	if err == nil || !strings.Contains(err.Error(), "libchdb.so") || !strings.Contains(err.Error(), "--clickhouse clickhouse://") {
		t.Errorf("%v; want the file's name and the option to use instead", err)
	}
}

func code(err error) int32 {
	if e := (*clickhouse.Exception)(nil); errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// TestPortTakenWhileDown takes the engine's port while it is down, and expects
// it to come back on that port once it is free.
func TestPortTakenWhileDown(t *testing.T) {
	ch, err := start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Close()
	o, err := clickhouse.ParseDSN(ch.URL())
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(ch.Pid(), syscall.SIGKILL)
	var taken net.Listener
	for deadline := time.Now().Add(10 * time.Second); taken == nil; time.Sleep(5 * time.Millisecond) { // until the dead engine's socket is gone
		if taken, err = net.Listen("tcp", o.Addr[0]); err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ch.Run(ctx) }()
	for deadline := time.Now().Add(20 * time.Second); ch.Restarts() < 2; time.Sleep(5 * time.Millisecond) { // it has tried in vain
		if time.Now().After(deadline) {
			t.Fatalf("%d restarts while the port was taken, want it to try again", ch.Restarts())
		}
	}
	taken.Close()
	conn := connect(t, ch.URL())
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = conn.Ping(t.Context()); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the engine did not come back: %v", err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestClickHouseStopsAtOnce closes engines that have only just answered, when
// their prompt may not be there yet.
func TestClickHouseStopsAtOnce(t *testing.T) {
	for range 3 {
		ch, err := start(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := ch.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
