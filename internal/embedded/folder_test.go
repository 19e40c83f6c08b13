package embedded

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
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

func TestUnwritableFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LockFolder(filepath.Join(file, "data")); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("%v; want what to do", err)
	}
}
