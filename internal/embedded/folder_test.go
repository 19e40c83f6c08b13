package embedded

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSecondLockIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	f, err := LockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v; want mode 0700", info, err)
	}
	_, err = LockFolder(dir)
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second lock: %v; want a refusal that names the folder and process %d", err, os.Getpid())
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := LockFolder(dir)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	again.Close()
}

// TestLockOfTheDead holds the lock in the name of a process that is gone, for as
// long as a child that it was just starting might.
func TestLockOfTheDead(t *testing.T) {
	dir := t.TempDir()
	f, err := LockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Skip(err)
	}
	if err := os.WriteFile(filepath.Join(dir, folderLock), []byte(strconv.Itoa(gone.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() { f.Close() })
	next, err := LockFolder(dir)
	if err != nil {
		t.Fatalf("the lock was free after 0.2 s: %v", err)
	}
	next.Close()
}

func TestUnwritableFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LockFolder(filepath.Join(file, "data")); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("%v; want what to do", err)
	}
}
