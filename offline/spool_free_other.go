//go:build !linux && !darwin

package offline

import "os"

// freeSpace is not known on this system.
func freeSpace(*os.File) (int64, bool) { return 0, false }
