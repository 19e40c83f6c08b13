package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// The library that holds ClickHouse, pinned: npm's "latest" is older.
const (
	libraryPackage   = "@chdb/lib-linux-x64-gnu"
	libraryVersion   = "26.7.3-stable.1"
	libraryIntegrity = "sha512-XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw=="
	libraryPacked    = 177_800_000 // bytes to download, about; only progress depends on it
	libraryUnpacked  = 566_330_096 // bytes of libchdb.so
	libraryFile      = "libchdb.so"
	libraryVariable  = "NEXTBEST_CLICKHOUSE_LIBRARY"
)

// completeFile marks a cached library as whole.
const completeFile = "complete.json"

// complete is what completeFile holds.
type complete struct {
	Package   string `json:"package"`
	Version   string `json:"version"`
	Integrity string `json:"integrity"` // of the package it came from
	Size      int64  `json:"size"`      // of the library
}

// The stages that FetchLibrary reports.
const (
	StageWait     = "waiting for another nextbest that fetches ClickHouse"
	StageDownload = "downloading ClickHouse"
	StageVerify   = "verifying ClickHouse"
	StageUnpack   = "unpacking ClickHouse"
)

// FetchLibrary returns the path of the ClickHouse library. The first call on a
// machine downloads it with npm (178 MB; npm's own registry settings apply),
// checks it against the SHA-512 pinned in this program, and unpacks it (566 MB)
// below the user's cache folder; later calls find it there. Programs that fetch
// at once wait for one another. NEXTBEST_CLICKHOUSE_LIBRARY names a library to
// use instead.
//
// progress, where not nil, is called at least every second with the stage and
// with bytes done and in all.
func FetchLibrary(ctx context.Context, progress func(stage string, done, total int64)) (string, error) {
	if err := supported(); err != nil {
		return "", err
	}
	if path := os.Getenv(libraryVariable); path != "" {
		info, err := os.Stat(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", libraryVariable, err)
		}
		if !info.Mode().IsRegular() {
			return "", fmt.Errorf("%s: %s is not a file; name libchdb.so itself", libraryVariable, path)
		}
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder for the ClickHouse library: %w; set HOME or XDG_CACHE_HOME, or %s", err, libraryVariable)
	}
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	f := fetcher{
		cache: filepath.Join(cache, "nextbest"), progress: progress, pack: npmPack,
		want: complete{libraryPackage, libraryVersion, libraryIntegrity, libraryUnpacked},
	}
	return f.fetch(ctx)
}

// fetcher is FetchLibrary with its sources named, so that tests can give others.
type fetcher struct {
	cache    string
	want     complete
	progress func(stage string, done, total int64)
	// pack downloads the package into an empty folder and returns the archive.
	pack func(ctx context.Context, dir, spec string, progress func(done int64)) (archive string, err error)
}

// fetch returns the cached library or makes it.
func (f *fetcher) fetch(ctx context.Context) (string, error) {
	dir := filepath.Join(f.cache, "clickhouse-"+f.want.Version)
	library := filepath.Join(dir, libraryFile)
	if f.cached(dir) {
		return library, nil
	}
	if err := os.MkdirAll(f.cache, 0o700); err != nil {
		return "", fmt.Errorf("cache folder for the ClickHouse library: %w", err)
	}
	lock := flock.New(filepath.Join(f.cache, "fetch.lock"))
	began := time.Now()
	for {
		ok, err := lock.TryLock()
		if err != nil {
			return "", fmt.Errorf("cache folder for the ClickHouse library: %w", err)
		}
		if ok {
			break
		}
		f.progress(StageWait, int64(time.Since(began).Seconds()), 0)
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
	defer lock.Close()
	if f.cached(dir) { // the one we waited for has it
		return library, nil
	}
	if err := f.sweep(); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(f.cache, "fetching-")
	if err != nil {
		return "", fmt.Errorf("cache folder for the ClickHouse library: %w", err)
	}
	defer os.RemoveAll(work)

	spec := f.want.Package + "@" + f.want.Version
	f.progress(StageDownload, 0, libraryPacked)
	archive, err := f.pack(ctx, work, spec, func(done int64) { f.progress(StageDownload, min(done, libraryPacked), libraryPacked) })
	if err != nil {
		return "", err
	}
	if err := verify(ctx, archive, f.want.Integrity, func(done, total int64) { f.progress(StageVerify, done, total) }); err != nil {
		return "", fmt.Errorf("%s: %w", spec, err)
	}
	fresh := filepath.Join(work, "fresh")
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return "", err
	}
	size, err := unpack(ctx, archive, "package/"+libraryFile, filepath.Join(fresh, libraryFile), func(done int64) { f.progress(StageUnpack, done, max(done, f.want.Size)) })
	if err != nil {
		return "", fmt.Errorf("unpacking %s: %w", spec, err)
	}
	mark := f.want
	mark.Size = size
	b, err := json.Marshal(mark)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(fresh, completeFile), b, 0o600); err != nil {
		return "", err
	}
	// A folder that is there but not whole was damaged: put it aside first.
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("damaged ClickHouse library: %w; remove %s", err, dir)
	}
	if err := os.Rename(fresh, dir); err != nil {
		return "", fmt.Errorf("ClickHouse library: %w", err)
	}
	return library, nil
}

// cached reports whether dir holds the whole library of the pinned package.
func (f *fetcher) cached(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, completeFile))
	if err != nil {
		return false
	}
	var mark complete
	if json.Unmarshal(b, &mark) != nil {
		return false
	}
	info, err := os.Stat(filepath.Join(dir, libraryFile))
	return err == nil && info.Size() == mark.Size && mark.Package == f.want.Package && mark.Version == f.want.Version && mark.Integrity == f.want.Integrity
}

// sweep removes what fetches that were killed have left. The caller holds the
// lock, so none of it is in use.
func (f *fetcher) sweep() error {
	left, err := filepath.Glob(filepath.Join(f.cache, "fetching-*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}
