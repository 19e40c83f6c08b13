package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"
)

// loadConfiguration reads a configuration file: one YAML mapping whose keys are
// the names of flags. A flag or an environment variable outweighs it.
func loadConfiguration(r io.Reader) (kong.Resolver, error) {
	values := map[string]any{}
	if err := yaml.NewDecoder(r).Decode(&values); err != nil && err != io.EOF {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	return configuration(values), nil
}

// configuration resolves flags by their names.
type configuration map[string]any

// Validate refuses keys that no command knows, so that nothing is silently
// left out.
func (c configuration) Validate(app *kong.Application) error {
	var known []string
	var collect func(n *kong.Node)
	collect = func(n *kong.Node) {
		for _, f := range n.Flags {
			known = append(known, f.Name)
		}
		for _, child := range n.Children {
			collect(child)
		}
	}
	collect(app.Node)
	for key := range c {
		if !slices.Contains(known, key) {
			return fmt.Errorf("configuration file: there is no setting %q; settings are named like flags, such as listen, data, clickhouse, nats", key)
		}
	}
	return nil
}

// Resolve returns the value of a flag, nil where the file does not set it.
func (c configuration) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	v, ok := c[flag.Name]
	if !ok || slices.ContainsFunc(flag.Envs, isSet) {
		return nil, nil
	}
	switch v.(type) {
	case map[string]any, []any:
		return nil, fmt.Errorf("configuration file: %s must be a single value", strings.ToLower(flag.Name))
	}
	return fmt.Sprint(v), nil
}

func isSet(variable string) bool {
	_, ok := os.LookupEnv(variable)
	return ok
}
