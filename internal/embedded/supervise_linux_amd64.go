package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"
)

// childVariable marks the process that is to become the engine.
const childVariable = "NEXTBEST_ENGINE_CHILD"

// ChildMain is the first line of main, and of TestMain where a test starts an
// engine. In a process that was started as the engine it becomes ClickHouse and
// never returns; in every other process it does nothing.
func ChildMain() {
	if os.Getenv(childVariable) != "1" || len(os.Args) < 2 {
		return
	}
	os.Unsetenv(childVariable)
	if err := serve(os.Args[1], append([]string{"clickhouse-local"}, os.Args[2:]...)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// supported says why there can be no embedded ClickHouse here.
func supported() error {
	if symbol, err := purego.Dlsym(purego.RTLD_DEFAULT, "gnu_get_libc_version"); err != nil || symbol == 0 {
		return errors.New("the embedded ClickHouse needs glibc, and this system has another C library (musl?); use a ClickHouse server of your own: " + own)
	}
	return nil
}

// serve loads the library into this process and calls its main function,
// clickhouse-local's, which returns when the engine has stopped. argv outlives
// the call because the engine may keep pointers into it.
func serve(library string, argv []string) error {
	runtime.LockOSThread()
	handle, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("library %s: %w", library, err)
	}
	symbol, err := purego.Dlsym(handle, "query_stable_v2")
	if err != nil {
		return fmt.Errorf("library %s has no query_stable_v2: %w", library, err)
	}
	args := make([]*byte, len(argv)+1)
	var pins runtime.Pinner
	defer pins.Unpin()
	for i, a := range argv {
		args[i] = unsafe.SliceData(append([]byte(a), 0))
		pins.Pin(args[i])
	}
	pins.Pin(&args[0])
	result, _, _ := purego.SyscallN(symbol, uintptr(len(argv)), uintptr(unsafe.Pointer(&args[0])))
	if result == 0 {
		return errors.New("the engine gave no result")
	}
	// struct local_result_v2 { char *buf; size_t len; void *vec; double elapsed; uint64_t rows, bytes; char *error; }
	message := (*(**struct {
		_     *byte
		_     uintptr
		_     uintptr
		_     float64
		_, _  uint64
		error *byte
	})(unsafe.Pointer(&result))).error
	if message == nil {
		return nil
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(message), n)) != 0 {
		n++
	}
	return fmt.Errorf("engine: %s", unsafe.Slice(message, n))
}

// process is one life of the engine.
type process struct {
	pid      int
	started  time.Time
	done     chan struct{} // closed when it has ended
	err      error         // of Wait; after done
	command  *exec.Cmd
	terminal *os.File

	mu   sync.Mutex
	tail []byte // last bytes it wrote to its terminal
}

// launch re-executes this program as the engine, on a pseudo-terminal of its
// own. The child inherits the folder's lock, so that the folder stays locked
// until the engine is really gone, even when this program was killed.
func launch(library, dir string, lock *os.File) (*process, error) {
	terminal, side, err := openTerminal()
	if err != nil {
		return nil, fmt.Errorf("pseudo-terminal: %w", err)
	}
	command := exec.Command("/proc/self/exe", library,
		"--config-file="+filepath.Join(dir, "config.xml"), "--path="+filepath.Join(dir, "data"), "--log-level=warning",
		"--interactive", "--disable_suggestion", "--history_file=/dev/null", "--highlight=0",
		"--query", "SYSTEM START LISTEN TCP") // not "QUERIES ALL": that opens the HTTP port 8123 too
	command.Env = []string{childVariable + "=1", "TERM=dumb", "TZ=UTC", "HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LD_LIBRARY_PATH=" + os.Getenv("LD_LIBRARY_PATH")}
	command.Dir = dir
	command.Stdin, command.Stdout, command.Stderr = side, side, side
	command.ExtraFiles = []*os.File{lock}
	// Interactive on a terminal, because otherwise an exception that leaves the
	// connection handler (a wrong password) ends the whole engine.
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0, Pdeathsig: syscall.SIGKILL}
	p := &process{done: make(chan struct{}), command: command, terminal: terminal}
	started := make(chan error, 1)
	go func() {
		// Pdeathsig follows the thread that forks, not the process: this goroutine
		// keeps its thread until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		side.Close()
		if err != nil {
			terminal.Close()
			started <- err
			return
		}
		p.pid, p.started = command.Process.Pid, time.Now()
		started <- nil
		go p.listen()
		p.err = command.Wait()
		close(p.done)
		terminal.Close()
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// listen keeps the last 8 KiB the engine writes to its terminal.
func (p *process) listen() {
	buf := make([]byte, 4096)
	for {
		n, err := p.terminal.Read(buf)
		p.mu.Lock()
		p.tail = append(p.tail, buf[:n]...)
		if over := len(p.tail) - 8<<10; over > 0 {
			p.tail = append(p.tail[:0], p.tail[over:]...)
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// output returns the last of what the engine wrote to its terminal.
func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.TrimSpace(strings.ReplaceAll(string(p.tail), "\r", ""))
}

// cause says how the engine ended, with its last words. Call it after done.
func (p *process) cause() string {
	cause := "it left its prompt"
	if p.err != nil {
		cause = p.err.Error()
	}
	if words := p.output(); words != "" {
		cause += ": " + words[max(0, len(words)-1000):]
	}
	return cause
}

// stop leaves the engine's prompt and waits; past the limit it kills. It asks
// again every half second: what is typed before the prompt of an engine that
// has only just started is thrown away.
func (p *process) stop(limit time.Duration) error {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		p.terminal.Write([]byte("exit\n")) // fails only when it has ended
		select {
		case <-p.done:
			return nil
		case <-time.After(500 * time.Millisecond):
		}
	}
	select {
	case <-p.done:
		return nil
	default:
	}
	p.command.Process.Kill()
	<-p.done
	if limit > 0 {
		return fmt.Errorf("the embedded ClickHouse did not stop within %v and was killed; nothing acknowledged is lost", limit)
	}
	return nil
}

// openTerminal opens a pseudo-terminal: our side, and the engine's.
func openTerminal() (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	number := 0
	raw, err := ours.SyscallConn() // not Fd: that would make reads block a thread
	if err == nil {
		control := raw.Control(func(fd uintptr) {
			if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
				number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
			}
		})
		err = errors.Join(err, control)
	}
	if err == nil {
		theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// lockEngine locks an engine's folder, waiting a little for a last engine that
// is about to die with its program. The engine inherits the file.
func lockEngine(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("folder of the embedded ClickHouse: %w", err)
	}
	deadline := time.Now().Add(lockLimit)
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			f.Truncate(0)
			f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0) // for the refusal below; a failure only makes that less helpful
			return f, nil
		}
		if err != unix.EWOULDBLOCK || time.Now().After(deadline) || ctx.Err() != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	who := holder(f.Name())
	f.Close()
	if err == unix.EWOULDBLOCK {
		return nil, fmt.Errorf("folder %s has an embedded ClickHouse already, owned by another nextbest%s; stop that one or name another folder", dir, who)
	}
	return nil, fmt.Errorf("folder %s of the embedded ClickHouse cannot be locked: %w", dir, err)
}
