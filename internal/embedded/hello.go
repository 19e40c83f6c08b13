package embedded

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// protocolRevision is old enough that the server expects nothing after the
// greeting, and new enough that it is not refused.
const protocolRevision = 54451

// hello greets a ClickHouse on its native port with a user's password and
// returns nil when it is let in. It speaks just enough of the native protocol to
// learn that the engine is ready and that it is ours.
func hello(addr, user, password string, timeout time.Duration) error {
	conn, err := net.DialTimeout("tcp", addr, timeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	msg := binary.AppendUvarint(nil, 0) // client hello
	text := func(s string) {
		msg = binary.AppendUvarint(msg, uint64(len(s)))
		msg = append(msg, s...)
	}
	text("nextbest")
	for _, v := range []uint64{1, 0, protocolRevision} {
		msg = binary.AppendUvarint(msg, v)
	}
	text("") // no database: it may not exist yet
	text(user)
	text(password)
	if _, err := conn.Write(msg); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	packet, err := binary.ReadUvarint(r)
	if err != nil {
		return err
	}
	switch packet {
	case 0: // server hello
		return nil
	case 2: // exception: int32 code, string name, string message
		var code int32
		if err := binary.Read(r, binary.LittleEndian, &code); err != nil {
			return err
		}
		refusal := &refused{code: code}
		for range 2 {
			n, err := binary.ReadUvarint(r)
			if err != nil || n > 1<<16 {
				break
			}
			b := make([]byte, n)
			if _, err := io.ReadFull(r, b); err != nil {
				break
			}
			refusal.message = string(b)
		}
		return refusal
	}
	return fmt.Errorf("what listens at %s is not a ClickHouse (answer %d)", addr, packet)
}

// refused is the server's own answer that a user is not let in.
type refused struct {
	code    int32
	message string
}

// Error returns the server's code and words.
func (r *refused) Error() string {
	return fmt.Sprintf("ClickHouse refused the connection: code %d: %s", r.code, r.message)
}
