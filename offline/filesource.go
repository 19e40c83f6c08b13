package offline

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"nextbest"
)

// openSource opens a log file; its error says what was looked for and where.
func openSource(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err == nil {
		if info, e := f.Stat(); e == nil && info.IsDir() {
			f.Close()
			return nil, nextbest.FieldErrorf("file", "%s is a folder: name one .parquet, .csv or .csv.gz file", path)
		}
		return f, nil
	}
	where := path
	if full, e := filepath.Abs(path); e == nil {
		where = full
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nextbest.FieldErrorf("file", "there is no %s: check the name and the folder, or give the whole path", where)
	case errors.Is(err, fs.ErrPermission):
		return nil, nextbest.FieldErrorf("file", "%s may not be read by this user: change its permissions, or copy it", where)
	}
	return nil, nextbest.FieldErrorf("file", "%s cannot be opened: %v", where, err)
}
