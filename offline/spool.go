package offline

import (
	"context"
	"fmt"
	"os"

	"nextbest"
)

// Spool says where a run keeps the rows that it has read from the log for the
// passes after the first: a sorted read of the log costs the engine far more than
// writing the rows down, and rows that are read once cannot differ between passes.
// The zero value is right for most machines.
type Spool struct {
	// Dir is the folder of the temporary file, "" for the system's. The file holds
	// customers' pseudonyms: it can be read by this user alone (0600) and has no
	// name any more once it is made, so it is gone with the process, however that
	// ends.
	Dir string
	// Memory is how many bytes are kept in memory before there is a file, 0 for 64
	// MiB, below 0 for none.
	Memory int64
	// Disk is the most that the file may take, 0 for 16 GiB, below 0 for no file. A
	// row of 20 actions and 32 features takes 170 to 360 bytes.
	Disk int64
	// Lost, if not nil, is told why rows cannot be kept: the log is then read again
	// for every pass, which takes longer and changes nothing else.
	Lost func(error)
}

const (
	defaultSpoolMemory = 64 << 20
	defaultSpoolDisk   = 16 << 30
	// leastFree is what a spool leaves free on the disk: the journal may be on it.
	leastFree = 1 << 30
	// freeEvery is how much is written between two looks at what is free.
	freeEvery = 64 << 20
)

// spool keeps the batches of one pass for those that follow.
type spool struct {
	options  Spool
	codec    *batchCodec
	pieces   []piece // in order
	memory   int64   // bytes of pieces held in memory
	size     int64   // of the file
	checked  int64   // size at which the next look at the free space is due
	file     *os.File
	scratch  []byte
	complete bool // every batch of a pass is here
	contexts bool // with contexts
	lost     error
}

// piece is an encoded batch: in memory, or where data is nil in the file.
type piece struct {
	data    []byte
	at, end int64
	actions int // length of the batch's dictionary
}

func newSpool(o Spool) *spool {
	if o.Memory == 0 {
		o.Memory = defaultSpoolMemory
	}
	if o.Disk == 0 {
		o.Disk = defaultSpoolDisk
	}
	return &spool{options: o, codec: newBatchCodec()}
}

// holds reports whether the spool has every row of the log, with contexts where
// they are wanted.
func (s *spool) holds(contexts bool) bool { return s.complete && (s.contexts || !contexts) }

// begin forgets what is kept, for another read of the log.
func (s *spool) begin(contexts bool) {
	s.clear()
	s.contexts = contexts
}

// append keeps a batch, unless the spool is lost.
func (s *spool) append(b *nextbest.Batch) {
	if s.lost != nil {
		return
	}
	if err := s.write(b); err != nil {
		s.lost = err
		s.clear()
		if s.options.Lost != nil {
			s.options.Lost(fmt.Errorf("keep rows between passes: %w; the log is read again for each", err))
		}
	}
}

// end says that every batch has been appended.
func (s *spool) end() { s.complete = s.lost == nil }

func (s *spool) write(b *nextbest.Batch) error {
	s.scratch = s.codec.encode(s.scratch[:0], b)
	p := piece{actions: len(b.Actions)}
	if n := int64(len(s.scratch)); s.file == nil && s.memory+n <= s.options.Memory {
		p.data = make([]byte, n)
		copy(p.data, s.scratch)
		s.memory += n
	} else {
		if err := s.room(n); err != nil {
			return err
		}
		if _, err := s.file.Write(s.scratch); err != nil {
			return err
		}
		p.at, p.end = s.size, s.size+n
		s.size = p.end
	}
	s.pieces = append(s.pieces, p)
	return nil
}

// room makes the file where there is none and looks whether n more bytes may be
// written.
func (s *spool) room(n int64) error {
	if s.size+n > s.options.Disk {
		return fmt.Errorf("they take more than the %d MiB that the temporary file may", max(s.options.Disk, 0)>>20)
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.options.Dir, "nextbest-rows-*")
		if err != nil {
			return err
		}
		s.file = f
		// Systems that do not remove an open file remove it in clear.
		_ = os.Remove(f.Name())
	}
	if s.size < s.checked {
		return nil
	}
	s.checked = s.size + freeEvery
	if free, ok := freeSpace(s.file); ok && free < leastFree+freeEvery {
		return fmt.Errorf("the disk of %s has %d MiB left", s.file.Name(), free>>20)
	}
	return nil
}

// clear gives memory and disk back.
func (s *spool) clear() {
	s.pieces, s.memory, s.size, s.checked, s.complete = nil, 0, 0, 0, false
	if s.file != nil {
		_ = s.file.Close() // it was made to be thrown away
		_ = os.Remove(s.file.Name())
		s.file = nil
	}
}

// replay calls f with the batches that are kept, as they were read; contexts are
// left out unless they are wanted. The next batch is read while f works. f must
// not write to a batch, nor use it after it has returned.
func (s *spool) replay(ctx context.Context, contexts bool, f func(*nextbest.Batch) error) error {
	type read struct {
		batch *nextbest.Batch
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	batches, ended := make(chan read, 1), make(chan struct{})
	go func() {
		defer close(ended)
		defer close(batches)
		for _, p := range s.pieces {
			var r read
			r.batch, r.err = s.read(p)
			select {
			case batches <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() { // nothing reads the file when replay has returned
		cancel()
		<-ended
	}()
	for r := range batches {
		if r.err != nil {
			return r.err
		}
		if !contexts {
			r.batch.Contexts = nil
		}
		if err := f(r.batch); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *spool) read(p piece) (*nextbest.Batch, error) {
	data := p.data
	if data == nil {
		data = make([]byte, p.end-p.at)
		if _, err := s.file.ReadAt(data, p.at); err != nil {
			return nil, nextbest.Errorf(nextbest.Internal, "read the rows that were kept between passes: %w", err)
		}
	}
	return s.codec.decode(data, p.actions), nil
}
