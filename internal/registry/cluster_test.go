package registry

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"nextbest"
)

// cluster starts three servers that keep streams together and returns them with
// a connection to each.
func cluster(t *testing.T) ([]*server.Server, []*nats.Conn) {
	t.Helper()
	var ports []int
	var routes []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, "nats://"+l.Addr().String())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var servers []*server.Server
	var conns []*nats.Conn
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
			JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 256 << 20,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port},
			Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
		})
		if err != nil {
			t.Fatal(err)
		}
		go s.Start()
		t.Cleanup(s.Shutdown)
		servers = append(servers, s)
	}
	for _, s := range servers {
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("a server does not start")
		}
		conn, err := nats.Connect(s.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		conns = append(conns, conn)
	}
	until(t, func() bool {
		for _, s := range servers {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == 3 {
				return true
			}
		}
		return false
	})
	return servers, conns
}

// TestCluster runs everything with three copies on three servers, takes one
// server away in the middle, and finds nothing lost, nothing twice and no cap
// exceeded.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("three servers take some seconds to find each other")
	}
	servers, conns := cluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var registries []*Registry
	var contacts []*Contacts
	for _, conn := range conns {
		js := jetStream(t, conn)
		r, err := Open(ctx, js, Options{Replicas: 3, Timeout: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		registries = append(registries, r)
		contacts = append(contacts, openContacts(t, js, ContactsOptions{Replicas: 3}))
	}
	if info, err := registries[0].stream.Info(ctx); err != nil || info.Config.Replicas != 3 {
		t.Fatalf("%+v, %v", info, err)
	}
	content := content(chunkSize + 1)
	hash, err := registries[0].PutBlob(ctx, content)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := registries[2].Blob(ctx, hash); err != nil || len(b) != len(content) {
		t.Fatalf("another server does not have the blob: %v", err)
	}

	const writers, writes, most = 6, 15, 40
	var reserved atomic.Int64
	var wg sync.WaitGroup
	for g := range writers {
		k := g % 2 // the third server goes
		wg.Go(func() {
			for i := range writes {
				c := action(fmt.Sprintf("a%d", i%2), fmt.Sprintf(`{"g":%d,"i":%d}`, g, i), nextbest.AnyRevision)
				if _, err := registries[k].Put(ctx, c); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for reserved.Load() < most && ctx.Err() == nil {
				value, rev, err := contacts[k].Get(ctx, "customer")
				if err != nil || len(value) == most {
					continue
				}
				if _, ok, err := contacts[k].CompareAndSet(ctx, "customer", append([]byte("x"), value...), rev); err == nil && ok {
					reserved.Add(1)
				}
			}
		})
		if g == writers/2 {
			conns[2].Close()
			servers[2].Shutdown()
		}
	}
	wg.Wait()
	for _, r := range registries[:2] {
		if err := r.catchUp(ctx); err != nil {
			t.Fatal(err)
		}
		if _, all := r.Snapshot(); len(all) != writers*writes {
			t.Errorf("%d writes left %d records", writers*writes, len(all))
		}
	}
	assertEqual(t, registries[0], registries[1])
	if audit, err := registries[0].Audit(ctx); err != nil || !audit.OK() {
		t.Errorf("audit: %+v, %v", audit, err)
	}
	it, err := contacts[0].bucket.getLeader(ctx, contactSubject+"k.customer")
	if err != nil || len(it.value) != most || reserved.Load() > most {
		t.Errorf("%d contacts under a cap of %d, %d acknowledged; %v", len(it.value), most, reserved.Load(), err)
	}
	if contacts[0].Generation() != contacts[1].Generation() {
		t.Error("the history was lost with one of three servers")
	}
}
