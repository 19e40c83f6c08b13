package registry

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nextbest"
)

const (
	blobSubject = "nextbest.blobs." // <hash>.<chunk>
	chunkSize   = 256 << 10         // part of the format: two writers of one blob must cut it alike
	maxBlob     = 1 << 30
	sizeHeader  = "Nextbest-Size" // of the whole blob, on each chunk
)

// blobs is a content-addressed store: the subject of a chunk says which content
// it belongs to, so writing twice is the same as writing once.
type blobs struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	timeout time.Duration
	cache   cache
}

func openBlobs(ctx context.Context, js jetstream.JetStream, opts Options) (*blobs, error) {
	// Reads go to the stream's leader (AllowDirect is off): a copy that lags
	// would not have the blob of a record that was just written.
	stream, err := ensureStream(ctx, js, jetstream.StreamConfig{
		Name: blobStream, Subjects: []string{blobSubject + ">"},
		Description: "content-addressed blobs in chunks: models",
		Storage:     jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardNew, MaxMsgsPerSubject: -1,
		MaxBytes: limit(opts.BlobBytes), Replicas: opts.Replicas,
	})
	if err != nil {
		return nil, err
	}
	if payload := js.Conn().MaxPayload(); payload < chunkSize+4096 {
		return nil, nextbest.Errorf(nextbest.Invalid, "registry: the NATS server takes messages of %d bytes at most; blobs need max_payload of at least %d", payload, chunkSize+4096)
	}
	return &blobs{js: js, stream: stream, timeout: opts.Timeout, cache: cache{limit: opts.CacheBytes}}, nil
}

// PutBlob stores content and returns its name, the SHA-256 in hex. It returns
// when all of it is durable; storing the same content again changes nothing.
func (r *Registry) PutBlob(ctx context.Context, content []byte) (hash string, err error) {
	return r.blobs.put(ctx, content)
}

// Blob returns the content with that hash. What is returned is shared: it must
// not be changed. Errors: NotFound; Internal when the stored content does not
// have the hash.
func (r *Registry) Blob(ctx context.Context, hash string) ([]byte, error) {
	return r.blobs.get(ctx, hash)
}

func (b *blobs) put(ctx context.Context, content []byte) (string, error) {
	if len(content) > maxBlob {
		return "", nextbest.Errorf(nextbest.TooLarge, "the blob has %d bytes, the limit is %d", len(content), maxBlob)
	}
	sum := sha256.Sum256(content)
	hash := hex.EncodeToString(sum[:])
	if _, ok := b.cache.get(hash); ok {
		return hash, nil
	}
	met := false
	// The first chunk comes last: who finds it finds all of them.
	for i := chunks(len(content)) - 1; i >= 0; i-- {
		part := content[i*chunkSize : min((i+1)*chunkSize, len(content))]
		there, err := b.putChunk(ctx, hash, i, part, len(content))
		if err != nil {
			return "", err
		}
		met = met || there
	}
	if met {
		// Some of it was there already: make sure it is what it should be.
		if _, err := b.get(ctx, hash); err != nil {
			return "", err
		}
		return hash, nil
	}
	b.cache.put(hash, append([]byte(nil), content...))
	return hash, nil
}

// putChunk writes one chunk unless it is there.
func (b *blobs) putChunk(ctx context.Context, hash string, i int, part []byte, size int) (there bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	m := &nats.Msg{Subject: chunkSubject(hash, i), Data: part, Header: nats.Header{sizeHeader: {strconv.Itoa(size)}}}
	for {
		once, stop := context.WithTimeout(ctx, ackWait)
		_, err = b.js.PublishMsg(once, m, jetstream.WithExpectLastSequencePerSubject(0), jetstream.WithExpectStream(blobStream))
		stop()
		var api *jetstream.APIError
		switch {
		case err == nil:
			return false, nil
		case errors.As(err, &api) && wrongSequence(api.ErrorCode):
			return true, nil
		case errors.As(err, &api):
			return false, unavailable("blob "+hash+" could not be stored", err)
		}
		select {
		case <-time.After(moveWait):
		case <-ctx.Done():
			return false, unavailable("blob "+hash+" could not be stored", err)
		}
	}
}

func (b *blobs) get(ctx context.Context, hash string) ([]byte, error) {
	if !isHash(hash) {
		return nil, nextbest.Errorf(nextbest.Invalid, "%q does not name a blob: 64 hexadecimal digits do", hash)
	}
	if content, ok := b.cache.get(hash); ok {
		return content, nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	var content []byte
	for i, n := 0, 1; i < n; i++ {
		m, err := b.stream.GetLastMsgForSubject(ctx, chunkSubject(hash, i))
		if errors.Is(err, jetstream.ErrMsgNotFound) && i == 0 {
			return nil, nextbest.Errorf(nextbest.NotFound, "blob %s does not exist", hash)
		}
		if err != nil {
			return nil, unavailable(fmt.Sprintf("blob %s, chunk %d", hash, i), err)
		}
		if i == 0 {
			size, err := parseSize(m.Header.Get(sizeHeader))
			if err != nil {
				return nil, nextbest.Errorf(nextbest.Internal, "blob %s: %w", hash, err)
			}
			n = chunks(size)
			content = make([]byte, 0, min(size, n*chunkSize))
		}
		content = append(content, m.Data...)
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != hash {
		return nil, nextbest.Errorf(nextbest.Internal, "blob %s: what is stored has the hash %x; restore the stream %s from a backup", hash, sum, blobStream)
	}
	b.cache.put(hash, content)
	return content, nil
}

func parseSize(s string) (int, error) {
	size, err := strconv.Atoi(s)
	if err != nil || size < 0 || size > maxBlob {
		return 0, fmt.Errorf("its size %q is not a number of bytes up to %d", s, maxBlob)
	}
	return size, nil
}

// chunks returns how many chunks a blob of size bytes has; an empty one has one.
func chunks(size int) int { return max(1, (size+chunkSize-1)/chunkSize) }

func chunkSubject(hash string, i int) string { return blobSubject + hash + "." + strconv.Itoa(i) }

// cache keeps the most recently used contents up to a number of bytes.
type cache struct {
	limit int64

	mu    sync.Mutex
	bytes int64
	order list.List // of *cached, most recent first
	items map[string]*list.Element
}

type cached struct {
	hash    string
	content []byte
}

func (c *cache) get(hash string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[hash]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).content, true
}

func (c *cache) put(hash string, content []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items == nil {
		c.items = map[string]*list.Element{}
	}
	if _, ok := c.items[hash]; ok || int64(len(content)) > c.limit {
		return
	}
	c.items[hash] = c.order.PushFront(&cached{hash, content})
	c.bytes += int64(len(content))
	for c.bytes > c.limit {
		last := c.order.Back()
		old := c.order.Remove(last).(*cached)
		delete(c.items, old.hash)
		c.bytes -= int64(len(old.content))
	}
}
