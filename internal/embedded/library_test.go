//go:build linux && amd64

package embedded

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// archive returns a package as npm packs it, and its integrity.
func archive(t *testing.T, library string) (packed []byte, integrity string) {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	files := tar.NewWriter(zip)
	for name, text := range map[string]string{"package/package.json": "{}", "package/" + libraryFile: library} {
		if err := files.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		files.Write([]byte(text))
	}
	if err := errors.Join(files.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512(b.Bytes())
	return b.Bytes(), "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

// registry is a source of packages that counts its downloads.
type registry struct {
	mu     sync.Mutex
	packed []byte
	packs  int
}

func (r *registry) pack(_ context.Context, dir, _ string, progress func(int64)) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packs++
	path := filepath.Join(dir, "p.tgz")
	progress(int64(len(r.packed)))
	return path, os.WriteFile(path, r.packed, 0o600)
}

func fetcherOf(cache string, r *registry, integrity string) *fetcher {
	return &fetcher{cache: cache, pack: r.pack, progress: func(string, int64, int64) {},
		want: complete{Package: "p", Version: "1.0.0", Integrity: integrity}}
}

func TestFetchUnpacksOnce(t *testing.T) {
	cache := t.TempDir()
	packed, integrity := archive(t, "the library")
	r := &registry{packed: packed}
	stages := map[string]bool{}
	f := fetcherOf(cache, r, integrity)
	f.progress = func(stage string, done, total int64) { stages[stage] = true }
	path, err := f.fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "the library" {
		t.Errorf("library holds %q, %v", b, err)
	}
	for _, stage := range []string{StageDownload, StageVerify, StageUnpack} {
		if !stages[stage] {
			t.Errorf("no progress was reported while %s", stage)
		}
	}
	again, err := fetcherOf(cache, r, integrity).fetch(t.Context())
	if err != nil || again != path || r.packs != 1 {
		t.Errorf("second fetch: %s, %v, %d downloads; want the same from the cache", again, err, r.packs)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "fetching-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}

	// A library that was cut short, or whose pin has changed, is fetched anew.
	if err := os.Truncate(path, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := fetcherOf(cache, r, integrity).fetch(t.Context()); err != nil || r.packs != 2 {
		t.Errorf("after damage: %v, %d downloads, want 2", err, r.packs)
	}
	if b, _ := os.ReadFile(path); string(b) != "the library" {
		t.Errorf("after damage the library holds %q", b)
	}
}

func TestCorruptedDownloadIsRefused(t *testing.T) {
	cache := t.TempDir()
	packed, integrity := archive(t, "the library")
	packed[len(packed)/2] ^= 1
	_, err := fetcherOf(cache, &registry{packed: packed}, integrity).fetch(t.Context())
	if err == nil || !strings.Contains(err.Error(), "checksum") || !strings.Contains(err.Error(), "p@1.0.0") {
		t.Fatalf("%v; want a refusal that names package and checksum", err)
	}
	entries, err := os.ReadDir(cache)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			t.Errorf("%s was kept of a refused download", e.Name())
		}
	}
}

func TestFetchesAtOnceDownloadOnce(t *testing.T) {
	cache := t.TempDir()
	packed, integrity := archive(t, "the library")
	r := &registry{packed: packed}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := fetcherOf(cache, r, integrity).fetch(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if r.packs != 1 {
		t.Errorf("%d downloads, want 1", r.packs)
	}
}

func TestPackageWithoutLibrary(t *testing.T) {
	packed, _ := archive(t, "x")
	path := filepath.Join(t.TempDir(), "p.tgz")
	if err := os.WriteFile(path, packed, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := unpack(t.Context(), path, "package/other.so", filepath.Join(t.TempDir(), "x"), func(int64) {}); err == nil || !strings.Contains(err.Error(), "package/other.so") {
		t.Errorf("%v; want an error that names the missing file", err)
	}
}

// script puts an npm of our own on the path.
func script(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

func TestSlowNPMReportsProgress(t *testing.T) {
	script(t, `printf 0123456789 > part; sleep 1.2; mv part made.tgz`)
	var seen []int64
	path, err := npmPack(t.Context(), t.TempDir(), "p@1", func(done int64) { seen = append(seen, done) })
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(path) != "made.tgz" || len(seen) < 2 || seen[len(seen)-1] != 10 {
		t.Errorf("archive %s, progress %v; want made.tgz and at least two reports up to 10", path, seen)
	}
}

func TestFailingNPMIsQuoted(t *testing.T) {
	script(t, `echo "npm error 404 not in this registry" >&2; exit 1`)
	_, err := npmPack(t.Context(), t.TempDir(), "p@1", func(int64) {})
	if err == nil || !strings.Contains(err.Error(), "404 not in this registry") || !strings.Contains(err.Error(), own) {
		t.Errorf("%v; want npm's words and what to do instead", err)
	}
}

func TestMissingNPM(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := npmPack(t.Context(), t.TempDir(), "p@1", func(int64) {})
	if err == nil || !strings.Contains(err.Error(), "install Node.js") || !strings.Contains(err.Error(), own) {
		t.Errorf("%v; want the cure and what to do instead", err)
	}
}

func TestCancelledFetchEnds(t *testing.T) {
	script(t, `exec sleep 30`)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := npmPack(ctx, t.TempDir(), "p@1", func(int64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestLibraryVariable(t *testing.T) {
	t.Setenv(libraryVariable, filepath.Join(t.TempDir(), "nowhere.so"))
	if _, err := FetchLibrary(t.Context(), nil); err == nil || !strings.Contains(err.Error(), libraryVariable) {
		t.Errorf("%v; want an error that names %s", err, libraryVariable)
	}
}
