package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"nextbest/cmd/nextbest/client"
)

// remote says how a command reaches the platform: a server by address and key,
// or the one of the data folder. Where none runs on the folder, the command
// starts the platform on it for as long as it takes, with serve's settings from
// the environment or a configuration file.
type remote struct {
	engines
	Address string `help:"Address of the server; without it, the one on the data folder." env:"NEXTBEST_ADDRESS"`
	Key     string `help:"API key; without it, the data folder's." env:"NEXTBEST_KEY"`
}

// connect returns a client and a function that ends what was started for it.
func (r *remote) connect(ctx context.Context, t *terminal) (*client.Client, func(), error) {
	f, err := readClientFile(filepath.Join(r.Data, clientFileName))
	if r.Address != "" {
		f.Address = r.Address
		if !strings.Contains(f.Address, "://") {
			f.Address = "http://" + f.Address
		}
	}
	if r.Key != "" {
		f.Key = r.Key
	}
	if f.Address != "" && f.Key != "" && alive(ctx, f.Address) {
		return client.New(f.Address, f.Key, 8), func() {}, nil
	}
	if r.Address != "" {
		if err != nil && r.Key == "" {
			return nil, nil, fmt.Errorf("no API key: give --key, or --data for a folder that has %s", clientFileName)
		}
		return nil, nil, fmt.Errorf("nothing answers at %s; check --address, or leave it out to use the data folder", f.Address)
	}
	if r.NATS == "" {
		if _, err := os.Stat(filepath.Join(r.Data, "nats")); errors.Is(err, os.ErrNotExist) {
			return nil, nil, fmt.Errorf("no platform is in the data folder %s; name its folder with --data or a running one with --address, or start one with nextbest serve", r.Data)
		}
	}
	return r.start(ctx, t)
}

// start runs the platform on the data folder until the returned function is
// called.
func (r *remote) start(ctx context.Context, t *terminal) (*client.Client, func(), error) {
	log := newLog(t.err, slog.LevelWarn)
	srv, err := openServer(ctx, r.engines, settings{listen: "127.0.0.1:0", watch: time.Minute, learn: time.Minute}, log, t.say)
	if err != nil {
		return nil, nil, err
	}
	if err := srv.leaveKey(ctx, r.Data); err != nil {
		srv.Close()
		return nil, nil, err
	}
	f, err := readClientFile(filepath.Join(r.Data, clientFileName))
	if err != nil {
		srv.Close()
		return nil, nil, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(running) }()
	return client.New(f.Address, f.Key, 8), func() {
		stop()
		if err := <-ended; err != nil {
			t.say("nextbest: %v", err)
		}
		srv.Close()
	}, nil
}

// alive reports whether a server of ours answers at the address.
func alive(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/healthz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err == nil && res.StatusCode == http.StatusOK
}
