package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"nextbest/cmd/nextbest/client"
	"nextbest/internal/embedded"
)

// TestScripts runs the command lines in testdata/script.
func TestScripts(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	library, err := embedded.FetchLibrary(t.Context(), func(string, int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(program, filepath.Join(bin, "nextbest")); err != nil {
		t.Fatal(err)
	}
	nobody := hangsUp(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(filepath.ListSeparator)+e.Getenv("PATH"))
			e.Setenv("NEXTBEST_CLICKHOUSE_LIBRARY", library)
			e.Setenv("NOBODY", nobody)
			e.Setenv("NEXTBEST_CLICKHOUSE_MEMORY", "1024")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":    exits,
			"answers":  answers,
			"fixtures": fixtures,
			"models":   models,
			"online":   online,
			"serves":   serves,
		},
	})
}

// hangsUp returns an address at which no server of ours can be.
func hangsUp(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

// exits CODE PROGRAM ARG… runs a program that has to end with the exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program arg…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		got = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s ends with exit code %d, want %s", args[1], got, args[0])
	}
}

// answers FOLDER waits until a server answers on the data folder.
func answers(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		f, err := readClientFile(filepath.Join(ts.MkAbs(args[0]), clientFileName))
		if err == nil && alive(context.Background(), f.Address) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("nothing answers on %s: %v", args[0], err)
		}
	}
}

// serverOn returns a client of the folder's server.
func serverOn(ts *testscript.TestScript, folder string) *client.Client {
	f, err := readClientFile(filepath.Join(ts.MkAbs(folder), clientFileName))
	ts.Check(err)
	return client.New(f.Address, f.Key, 2)
}

// models FOLDER trains two models of lints@1: on half of the imported decisions,
// by their time, and on all.
func models(ts *testscript.TestScript, _ bool, args []string) {
	c := serverOn(ts, args[0])
	for _, to := range []string{"2026-01-05T10:05:00Z", "2026-01-05T11:00:00Z"} {
		_, err := c.Call(context.Background(), "POST", "/v1/policies/lints/versions/1/models", obj{"placement": "shop", "to": to}, nil)
		ts.Check(err)
	}
}

// online FOLDER lets lints@1 learn online and waits for the live model.
func online(ts *testscript.TestScript, _ bool, args []string) {
	c := serverOn(ts, args[0])
	_, err := c.Call(context.Background(), "PUT", "/v1/placements/shop", obj{"channels": []string{"email"}, "objective": "orders@1",
		"actions": []string{"do-nothing", "mens", "womens"}, "policy": "lints@1", "learning": "online"}, nil, client.IfMatch("*"))
	ts.Check(err)
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var m struct{ Document struct{ Current bool } }
		if _, err := c.Call(context.Background(), "GET", "/v1/policies/lints/versions/1/models/3", nil, &m); err == nil && m.Document.Current {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("lints@1 does not learn live")
		}
	}
}

// serves FOLDER MODEL waits until a decision is made by that model of lints@1.
func serves(ts *testscript.TestScript, _ bool, args []string) {
	c := serverOn(ts, args[0])
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var m struct {
			Policy string
			Model  uint64
		}
		_, err := c.Call(context.Background(), "POST", "/v1/decisions", obj{"placement": "shop", "customer": obj{"id": "C-2"}, "context": obj{}}, &m)
		ts.Check(err)
		if m.Policy == "lints@1" && strconv.FormatUint(m.Model, 10) == args[1] {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("decisions are made by model %d of %s", m.Model, m.Policy)
		}
	}
}

// fixtures FOLDER defines on the folder's server what the scripts work with.
func fixtures(ts *testscript.TestScript, _ bool, args []string) {
	c := serverOn(ts, args[0])
	treatment := []obj{{"id": "a", "channel": "email"}}
	for _, d := range []struct {
		method, path string
		doc          obj
	}{
		{"PUT", "/v1/objectives/orders", obj{"terms": []obj{{"reward": "order", "weight": 1}}, "window": "1d", "default": 0}},
		{"PUT", "/v1/actions/mens", obj{"treatments": treatment}},
		{"PUT", "/v1/actions/womens", obj{"treatments": treatment}},
		{"POST", "/v1/policies/chance/versions", obj{"algorithm": "uniform"}},
		{"POST", "/v1/policies/lints/versions", obj{"algorithm": "linear_thompson"}},
		{"POST", "/v1/policies/womens/versions", obj{"algorithm": "fixed", "weights": obj{"womens": 1}}},
		{"PUT", "/v1/placements/shop", obj{"channels": []string{"email"}, "objective": "orders@1", "actions": []string{"do-nothing", "mens", "womens"}, "policy": "chance@1"}},
	} {
		_, err := c.Call(context.Background(), d.method, d.path, d.doc, nil)
		ts.Check(err)
	}
	_, err := c.Call(context.Background(), "POST", "/v1/decisions", obj{"placement": "shop", "customer": obj{"id": "C-1"}, "context": obj{}}, nil)
	ts.Check(err)
	// A log in which women buy after their letter: a third got each action.
	log, err := os.Create(filepath.Join(ts.MkAbs("."), "log.ndjson"))
	ts.Check(err)
	for i := range 600 {
		action := []string{"do-nothing", "mens", "womens"}[i%3]
		value := 0
		if action == "womens" && i%2 == 0 {
			value = 1
		}
		fmt.Fprintf(log, `{"id":"%d","customer":{"id":"C-%d"},"time":"2026-01-05T10:%02d:00Z","context":{},"action":%q,"eligible":["do-nothing","mens","womens"],"rewards":[{"kind":"order","value":%d}]}`+"\n", i, i, i/60, action, value)
	}
	ts.Check(log.Close())
}
