package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"nextbest/internal/api"
)

type serveCmd struct {
	engines
	Listen   string        `help:"Address of the API and the console." default:"127.0.0.1:8080" env:"NEXTBEST_LISTEN"`
	LogLevel slog.Level    `help:"debug, info, warn or error." default:"info" env:"NEXTBEST_LOG_LEVEL"`
	Watch    time.Duration `help:"Time between looks at the guardrails of running experiments." default:"1m" env:"NEXTBEST_WATCH"`
	Learn    time.Duration `help:"Time between passes of the live trainer." default:"10s" env:"NEXTBEST_LEARN"`
	Settle   time.Duration `help:"How late rewards may reach the log; customers of an experiment count after window and settle time. Without it, a tenth of the window, at most a day." placeholder:"SPAN" env:"NEXTBEST_SETTLE"`
}

// Run serves until it is asked to stop.
func (c *serveCmd) Run(ctx context.Context, t *terminal) error {
	log := newLog(t.err, c.LogLevel)
	start := time.Now()
	srv, err := openServer(ctx, c.engines, settings{listen: c.Listen, watch: c.Watch, learn: c.Learn, settle: c.Settle}, log, t.say)
	if err != nil {
		return err
	}
	defer srv.Close()
	first := !srv.hasKeys()
	if err := srv.leaveKey(ctx, c.Data); err != nil {
		return err
	}
	if first {
		admin, err := srv.newKey(ctx, api.Admin, "first", "first start")
		if err != nil {
			return err
		}
		t.say("Admin key, shown only this once: %s", admin)
	}
	t.say("nextbest serves %s (started in %.1f s); console: %s/console/", srv.Address(), time.Since(start).Seconds(), srv.Address())
	return srv.Run(ctx)
}

// clientFile is what the other commands read to find the server.
type clientFile struct {
	Address string `json:"address"`
	Key     string `json:"key"`
}

const clientFileName = "client.json"

// leaveKey writes the address and a key for the commands of whoever owns the
// data folder. The key of an earlier start is kept.
func (s *server) leaveKey(ctx context.Context, data string) error {
	path := filepath.Join(data, clientFileName)
	f, err := readClientFile(path)
	if err != nil || s.api.Allows(f.Key, api.MayKeys) != nil {
		if f.Key, err = s.newKey(ctx, api.Admin, "command-line", "key of the data folder"); err != nil {
			return err
		}
	}
	f.Address = s.Address()
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("leave a key for the other commands: %w", err)
	}
	return os.Rename(temporary, path)
}

func readClientFile(path string) (clientFile, error) {
	var f clientFile
	b, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("%s: %w; delete it and start nextbest serve again", path, err)
	}
	return f, nil
}

// token returns a random one-time token.
func token() string { return rand.Text() }
