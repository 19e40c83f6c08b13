package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"nextbest/cmd/nextbest/client"
	"nextbest/cmd/nextbest/demo"
	"nextbest/internal/api"
)

type demoCmd struct {
	Dataset    string `help:"Real customers instead of the fictional retailer." enum:"retailer,hillstrom" default:"retailer"`
	File       string `help:"The data set's file, as published (.csv or .csv.gz)." type:"existingfile" placeholder:"FILE"`
	Listen     string `help:"Address of the API and the console." default:"127.0.0.1:0"`
	Data       string `help:"Folder to keep; without it a fresh one that is removed at the end." type:"path"`
	ClickHouse string `name:"clickhouse" help:"ClickHouse with an empty database to use instead of the embedded one." placeholder:"URL"`
	NATS       string `name:"nats" help:"NATS with JetStream to use instead of the embedded one." placeholder:"URL"`
	Seed       uint64 `help:"Seed of the simulated customers and of the folds." default:"1"`
	Exit       bool   `help:"End after the story instead of serving on."`
	JSON       bool   `help:"Print the result as one JSON document on standard output."`
}

// Run starts a platform of its own and plays the story against its API.
func (c *demoCmd) Run(ctx context.Context, t *terminal) error {
	if c.Dataset == "hillstrom" && c.File == "" {
		return fmt.Errorf("--dataset hillstrom needs --file: the MineThatData e-mail test of 2008 as published, 64,000 rows with the columns recency, history_segment, …, spend")
	}
	data := c.Data
	if data == "" {
		dir, err := os.MkdirTemp("", "nextbest-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		data = dir
	}
	t.say("The demo takes one to two minutes. The first run on a machine downloads ClickHouse once: 178 MB, 566 MB unpacked, one to three minutes.")
	log := newLog(t.err, slog.LevelError)
	start := time.Now()
	// Times are compressed: what takes weeks in life takes seconds here, by the
	// same settings.
	srv, err := openServer(ctx, engines{Data: data, ClickHouse: c.ClickHouse, NATS: c.NATS, Replicas: 1, ClickHouseMemory: 2048, JournalSize: 8192},
		settings{listen: c.Listen, watch: time.Second, learn: time.Second, settle: time.Second}, log, t.say)
	if err != nil {
		return err
	}
	defer srv.Close()
	admin, err := srv.newKey(ctx, api.Admin, "demo", "demo")
	if err != nil {
		return err
	}
	if err := srv.leaveKey(ctx, data); err != nil {
		return err
	}
	viewer, err := srv.newKey(ctx, api.Owner, "console", "one-time link of the demo")
	if err != nil {
		return err
	}
	link := srv.Address() + srv.console.Link(token(), viewer)

	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(running) }()
	out := io.Writer(t.out)
	if c.JSON {
		out = io.Discard
	}
	fmt.Fprintf(out, "%-9s ready in %.1f s · %s\n", "engines", time.Since(start).Seconds(), where(c.Data, data))
	fmt.Fprintf(out, "%-9s %s   (opens once)\n", "console", link)

	progress := func(format string, args ...any) { t.progress(format, args...) }
	result, err := c.play(running, client.New(srv.Address(), admin, 64), out, progress)
	t.done()
	if err != nil {
		stop()
		return firstError(err, <-ended)
	}
	if c.JSON {
		if err := printJSON(t.out, result); err != nil {
			return err
		}
	}
	if c.Exit {
		stop()
		return <-ended
	}
	fmt.Fprintf(out, "%-9s curl -s %s/v1/decisions -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' -d '%s'\n", "try", srv.Address(), admin, demo.Example(c.Dataset))
	fmt.Fprintf(out, "%-9s %s   serving until Ctrl-C\n", "console", srv.Address()+srv.console.Link(token(), viewer))
	return <-ended
}

// play runs the chosen story.
func (c *demoCmd) play(ctx context.Context, api *client.Client, out io.Writer, progress func(format string, args ...any)) (any, error) {
	if c.Dataset == "hillstrom" {
		return demo.Hillstrom(ctx, api, demo.HillstromOptions{File: c.File, Seed: c.Seed}, out, progress)
	}
	return demo.Retailer(ctx, api, demo.RetailerOptions{Seed: c.Seed}, out, progress)
}

func where(given, data string) string {
	if given == "" {
		return "fresh data folder"
	}
	return "data folder " + filepath.Clean(data)
}

// firstError prefers what the story met over what came of stopping it.
func firstError(story, server error) error {
	if server != nil {
		return fmt.Errorf("%w (and the server ended: %v)", story, server)
	}
	return story
}
