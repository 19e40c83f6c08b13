//go:build linux || darwin

package offline

import (
	"os"
	"syscall"
)

// freeSpace returns what users may still write to the disk of a file, and whether
// that is known.
func freeSpace(f *os.File) (int64, bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, false
	}
	var st syscall.Statfs_t
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Fstatfs(int(fd), &st) }); err != nil || failed != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}
