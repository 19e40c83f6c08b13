package offline

import (
	"context"
	"path/filepath"

	"nextbest"
)

// fileRun is one evaluation of a log file.
type fileRun struct {
	o        *FileOptions
	log      logFile
	columns  map[string]fileColumn
	book     *actionBook
	study    *fileStudy
	progress func(int64)

	told    int64 // rows read so far, over all passes
	units   int64 // customers, or rows
	untried int   // actions of the lists that were never taken
	floored bool  // a floor covers every action

	clusters  *clusterWeights // nil where they cannot be weighed
	weighed   float64         // rows whose clusters were
	clustered float64         // the candidate's mass on clusters that the logger takes
	unknown   []string        // actions with a cluster that the log does not have
	local     []uint32        // the actions of the lists
	numbers   []int32         // likewise
	stability []float64       // h by block of rows; nil where the logger was fixed
}

// EvaluateFile evaluates the candidate of a log file (.parquet, .csv, .csv.gz):
// see fileFields for its columns. The file is read twice, or more often where
// customers are out of order; progress, if not nil, is told the rows so far of
// all passes. A file with a row that cannot be used is refused whole, by an
// error that names the column, the rule and the first such rows.
func EvaluateFile(ctx context.Context, path string, o FileOptions, progress func(done int64)) (*FileReport, error) {
	if err := o.prepare(); err != nil {
		return nil, err
	}
	asked, err := parseEstimators(o.Estimators)
	if err != nil {
		return nil, err
	}
	log, err := openLogFile(path)
	if err != nil {
		return nil, err
	}
	defer log.close()
	columns, err := log.schema().choose(o.Map)
	if err != nil {
		return nil, err
	}
	r := &fileRun{o: &o, log: log, columns: columns, progress: progress}
	if err := r.check(ctx); err != nil {
		return nil, err
	}
	if r.study.rows == 0 {
		return nil, nextbest.FieldErrorf("file", "%s has no rows", filepath.Base(path))
	}
	return r.report(ctx, filepath.Base(path), asked)
}

// check is the first pass.
func (r *fileRun) check(ctx context.Context) error {
	_, evaluations := r.columns[fieldEvaluations]
	_, predictions := r.columns[fieldPredictions]
	_, logged := r.columns[fieldLogged]
	r.book = newActionBook(evaluations || predictions || logged, r.o.Actions)
	r.study = newFileStudy()
	check := newFileCheck(r.columns, r.book, r.o)
	err := r.log.read(ctx, r.columns, func(p *filePiece) error {
		if check.piece(p) {
			r.study.piece(p, check.actionOf)
		}
		r.told += int64(p.n)
		if r.progress != nil {
			r.progress(r.told)
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if err := check.problems.err(check.rows); err != nil {
		return err
	}
	if named := len(r.o.Actions); named > 0 && check.actions > 0 && named != check.actions {
		return nextbest.FieldErrorf("actions", "%d actions are named, and the lists have %d: name every one, in the order of the lists", named, check.actions)
	}
	s := r.study
	s.lists = check.actions
	for k := range s.lists {
		if k >= len(s.actions) || s.actions[k].rows == 0 {
			r.untried++
		}
	}
	r.floored = r.o.Floor > 0
	return nil
}
