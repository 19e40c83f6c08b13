package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"nextbest"
	"nextbest/internal/embedded/enginetest"
)

func content(n int) []byte {
	rng := rand.NewChaCha8([32]byte{byte(n)})
	b := make([]byte, n)
	rng.Read(b)
	return b
}

func TestBlobs(t *testing.T) {
	nc := enginetest.NATS(t)
	a, b := open(t, jetStream(t, nc), Options{}), open(t, jetStream(t, nc), Options{})
	for _, n := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 17} {
		want := content(n)
		var wg sync.WaitGroup
		hashes := make([]string, 4)
		for i := range hashes { // all at once, on both replicas
			wg.Go(func() {
				var err error
				if hashes[i], err = []*Registry{a, b}[i%2].PutBlob(t.Context(), want); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		sum := sha256.Sum256(want)
		for _, h := range hashes {
			if h != hex.EncodeToString(sum[:]) {
				t.Fatalf("%d bytes have the hash %s", n, h)
			}
		}
		info, err := a.blobs.stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c := open(t, jetStream(t, nc), Options{}) // nothing cached
		got, err := c.Blob(t.Context(), hashes[0])
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes come back as %d: %v", n, len(got), err)
		}
		if _, err := c.PutBlob(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		again, err := a.blobs.stream.Info(t.Context())
		if err != nil || again.State.Msgs != info.State.Msgs {
			t.Errorf("storing %d bytes again added messages: %d, then %d", n, info.State.Msgs, again.State.Msgs)
		}
	}
	_, err := a.Blob(t.Context(), strings.Repeat("0", 64))
	wantCode(t, err, nextbest.NotFound)
	_, err = a.Blob(t.Context(), "nonsense")
	wantCode(t, err, nextbest.Invalid)
}

// TestHalfWrittenBlob: a writer died after some chunks. Nobody finds the blob,
// and the next writer completes it.
func TestHalfWrittenBlob(t *testing.T) {
	r := open(t, jetStream(t, enginetest.NATS(t)), Options{})
	want := content(2*chunkSize + 5)
	sum := sha256.Sum256(want)
	hash := hex.EncodeToString(sum[:])
	if _, err := r.blobs.putChunk(t.Context(), hash, 2, want[2*chunkSize:], len(want)); err != nil {
		t.Fatal(err)
	}
	_, err := r.Blob(t.Context(), hash)
	wantCode(t, err, nextbest.NotFound)
	if _, err := r.PutBlob(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Blob(t.Context(), hash); err != nil || !bytes.Equal(got, want) {
		t.Fatal(err)
	}
}

// TestSpoiltBlob: content that does not have its name is never returned.
func TestSpoiltBlob(t *testing.T) {
	nc := enginetest.NATS(t)
	r := open(t, jetStream(t, nc), Options{})
	want := content(100)
	sum := sha256.Sum256(want)
	hash := hex.EncodeToString(sum[:])
	for _, size := range []string{"100", "-1", "x", "99999999999"} {
		m := &nats.Msg{Subject: chunkSubject(hash, 0), Data: want[:99], Header: nats.Header{sizeHeader: {size}}}
		if _, err := r.js.PublishMsg(context.Background(), m); err != nil {
			t.Fatal(err)
		}
		_, err := r.Blob(t.Context(), hash)
		wantCode(t, err, nextbest.Internal)
		_, err = r.PutBlob(t.Context(), want)
		wantCode(t, err, nextbest.Internal)
	}
}

func TestCache(t *testing.T) {
	c := cache{limit: 10}
	for i := range 4 {
		c.put(fmt.Sprint(i), []byte("1234"))
		c.get("0")
	}
	for key, want := range map[string]bool{"0": true, "1": false, "2": false, "3": true} {
		if _, ok := c.get(key); ok != want {
			t.Errorf("%s: kept %v", key, ok)
		}
	}
	c.put("large", make([]byte, 11))
	if _, ok := c.get("large"); ok || c.bytes != 8 || c.order.Len() != 2 {
		t.Errorf("%d bytes in %d entries", c.bytes, c.order.Len())
	}
}

func FuzzParseSize(f *testing.F) {
	f.Add("0")
	f.Add("262144")
	f.Add("-5")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseSize(s); err == nil && (n < 0 || n > maxBlob || chunks(n)*chunkSize < n) {
			t.Fatalf("%q is %d bytes in %d chunks", s, n, chunks(n))
		}
	})
}
