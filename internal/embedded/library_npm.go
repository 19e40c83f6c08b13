package embedded

import (
	"archive/tar"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// npmPack downloads a package's archive into dir with "npm pack". npm says
// nothing while it works, so progress comes from the size of what it has written
// so far; its cache is put below dir to be seen, and to leave nothing behind.
func npmPack(ctx context.Context, dir, spec string, progress func(done int64)) (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("npm is needed once, to download ClickHouse (%s), and was not found: install Node.js with npm, or name a libchdb.so in %s, or use a ClickHouse server of your own: %s", spec, libraryVariable, own)
	}
	out := filepath.Join(dir, "npm")
	if err := os.MkdirAll(out, 0o700); err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, npm, "pack", spec, "--pack-destination", out, "--cache", filepath.Join(dir, "cache"),
		"--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error")
	command.Dir = out
	command.WaitDelay = 2 * time.Second
	var said strings.Builder
	command.Stdout, command.Stderr = &said, &said
	if err := command.Start(); err != nil {
		return "", fmt.Errorf("npm pack %s: %w", spec, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var most int64
	for running := true; running; {
		select {
		case err = <-ended:
			running = false
		case <-tick.C:
			most = max(most, written(dir))
			progress(most)
		}
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		words := strings.TrimSpace(said.String())
		return "", fmt.Errorf("npm pack %s failed (%w): %s; check that npm reaches its registry (npm ping), or name a libchdb.so in %s, or use a ClickHouse server of your own: %s", spec, err, words[max(0, len(words)-600):], libraryVariable, own)
	}
	archives, err := filepath.Glob(filepath.Join(out, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return "", fmt.Errorf("npm pack %s left %d archives, not one: %s", spec, len(archives), strings.TrimSpace(said.String()))
	}
	return archives[0], nil
}

// written returns the size of the largest file below dir: the download in
// progress, in npm's cache or already packed.
func written(dir string) int64 {
	var most int64
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files come and go while npm works
		}
		if info, err := d.Info(); err == nil {
			most = max(most, info.Size())
		}
		return nil
	})
	return most
}

// verify compares an archive with the pinned integrity, "sha512-" and base64.
func verify(ctx context.Context, archive, integrity string, progress func(done, total int64)) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	sum := sha512.New()
	r := &meter{ctx: ctx, r: f, report: func(done int64) { progress(done, info.Size()) }}
	if _, err := io.Copy(sum, r); err != nil {
		return err
	}
	if got := "sha512-" + base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != integrity {
		return fmt.Errorf("the downloaded package is not the pinned one and was thrown away: its checksum is %s, expected %s; try again, and if it stays so, do not trust the registry that npm is set to", got, integrity)
	}
	return nil
}

// unpack writes one file of a .tgz archive to path, flushed to disk, and returns
// its size.
func unpack(ctx context.Context, archive, name, path string, progress func(done int64)) (int64, error) {
	f, err := os.Open(archive)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return 0, err
	}
	files := tar.NewReader(zip)
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("the package holds no %s", name)
		}
		if err != nil {
			return 0, err
		}
		if h.Name != name || h.Typeflag != tar.TypeReg {
			continue
		}
		out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
		if err != nil {
			return 0, err
		}
		n, err := io.Copy(out, &meter{ctx: ctx, r: files, report: progress})
		if err == nil {
			progress(n)
			err = out.Sync()
		}
		return n, errors.Join(err, out.Close())
	}
}

// meter is a reader that ends with its context and reports how far it is, twice
// a second.
type meter struct {
	ctx    context.Context
	r      io.Reader
	report func(done int64)
	done   int64
	last   time.Time
}

// Read implements io.Reader.
func (m *meter) Read(b []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(b)
	m.done += int64(n)
	if now := time.Now(); now.Sub(m.last) > 500*time.Millisecond {
		m.last = now
		m.report(m.done)
	}
	return n, err
}
