package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/alecthomas/kong"
)

// inputFile checks that a file can be read; its error says what was looked for,
// where, and what to do.
func inputFile(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().IsRegular() {
		f, e := os.Open(path)
		if err = e; err == nil {
			return f.Close()
		}
	}
	if err == nil && !info.IsDir() { // a pipe, which can be opened once
		return nil
	}
	where := path
	if full, e := filepath.Abs(path); e == nil {
		where = full
	}
	switch {
	case err == nil:
		return fmt.Errorf("%s is a folder: name a file in it", where)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no %s: check the name and the folder, or give the whole path", where)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be read by this user: change its permissions, or copy it", where)
	}
	return fmt.Errorf("%s cannot be read: %w", where, err)
}

// existingFile reads flags and arguments of type existingfile.
func existingFile(ctx *kong.DecodeContext, target reflect.Value) error {
	var path string
	if err := ctx.Scan.PopValueInto("file", &path); err != nil {
		return err
	}
	path = kong.ExpandPath(path)
	if err := inputFile(path); err != nil {
		return err
	}
	target.SetString(path)
	return nil
}

// configFlag is the flag of the configuration file, which it loads.
type configFlag string

// BeforeResolve loads the file, so that it resolves the other flags.
func (configFlag) BeforeResolve(k *kong.Kong, ctx *kong.Context, trace *kong.Path) error {
	path := kong.ExpandPath(string(ctx.FlagValue(trace.Flag).(configFlag)))
	if err := inputFile(path); err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	resolver, err := k.LoadConfig(path)
	if err != nil {
		return err
	}
	ctx.AddResolver(resolver)
	return nil
}

// hideEngines leaves the settings of the engines out of the help of commands that
// are clients: they take them, from the environment or a configuration file say,
// only to start a platform on a folder where none runs.
func hideEngines(n *kong.Node) {
	client := false
	for _, f := range n.Flags {
		client = client || f.Name == "address"
	}
	for _, f := range n.Flags {
		if client && engineFlags[f.Name] {
			f.Hidden = true
		}
	}
	for _, child := range n.Children {
		hideEngines(child)
	}
}

// engineFlags are those of engines that only a server uses.
var engineFlags = map[string]bool{"clickhouse": true, "nats": true, "replicas": true, "clickhouse-memory": true, "nats-memory": true, "journal-size": true}
