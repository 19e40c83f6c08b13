package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// folderLock is the file in a data folder that the owning program locks; it
// holds the owner's process id.
const folderLock = "nextbest.lock"

// Folder is a data folder that this program owns until Close.
type Folder struct {
	dir  string
	lock *flock.Flock
}

// LockFolder creates dir (mode 0700) where it is missing and takes it for this
// program alone. Two embedded NATS servers would open one folder without an
// error and destroy each other's streams, so this comes before either engine.
// The kernel drops the lock when the program ends, however it ends.
func LockFolder(dir string) (*Folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("data folder %q: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder %s cannot be created: %w; name another with --data", dir, err)
	}
	path := filepath.Join(dir, folderLock)
	lock := flock.New(path)
	for deadline := time.Now().Add(lockLimit); ; time.Sleep(10 * time.Millisecond) {
		ok, err := lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("data folder %s cannot be locked: %w; check that this user may write there", dir, err)
		}
		if ok {
			break
		}
		// An owner that was killed while it started its engine leaves the lock to
		// that child for a moment.
		if pid := holderPid(path); pid == 0 || alive(pid) || time.Now().After(deadline) {
			return nil, fmt.Errorf("data folder %s is in use by another nextbest%s; stop that one, talk to it through its address, or name another folder with --data", dir, holder(path))
		}
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		lock.Close()
		return nil, fmt.Errorf("data folder %s: %w", dir, err)
	}
	return &Folder{dir: dir, lock: lock}, nil
}

// Dir returns the absolute path of the folder.
func (f *Folder) Dir() string { return f.dir }

// Close gives the folder back. Both engines must have been closed before.
func (f *Folder) Close() error { return f.lock.Close() }

// holder returns " (process 123)" where the lock file names its owner.
func holder(path string) string {
	if pid := holderPid(path); pid != 0 {
		return fmt.Sprintf(" (process %d)", pid)
	}
	return ""
}

// holderPid returns the process that a lock file names, or 0.
func holderPid(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 0 {
		return 0
	}
	return pid
}

// alive reports whether a process exists, whoever owns it.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}
