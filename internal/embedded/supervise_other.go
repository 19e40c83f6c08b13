//go:build !(linux && amd64)

package embedded

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"
)

// ChildMain is the first line of main. There is no embedded ClickHouse on this
// platform, so it does nothing.
func ChildMain() {}

// supported says why there can be no embedded ClickHouse here.
func supported() error {
	return fmt.Errorf("the embedded ClickHouse runs on Linux x86-64 with glibc only, and this is %s/%s; use a ClickHouse server of your own: %s", runtime.GOOS, runtime.GOARCH, own)
}

// process is one life of the engine; there is none on this platform.
type process struct {
	pid     int
	started time.Time
	done    chan struct{}
}

func launch(string, string, *os.File) (*process, error) { return nil, supported() }

func (p *process) output() string           { return "" }
func (p *process) cause() string            { return "" }
func (p *process) stop(time.Duration) error { return nil }

func lockEngine(context.Context, string) (*os.File, error) {
	return nil, supported()
}
