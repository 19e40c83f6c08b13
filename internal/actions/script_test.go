package actions

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"nextbest"
	"nextbest/internal/rules"
)

// TestScripts runs the decision scripts in testdata: what the actions, the
// customer and the history are, and who is eligible for what. The format is
// described in testdata/README.md.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, want, err := run(archive)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				if os.Getenv("UPDATE_SCRIPTS") != "" {
					for i := range archive.Files {
						if archive.Files[i].Name == "want" {
							archive.Files[i].Data = []byte(got)
						}
					}
					if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func run(archive *txtar.Archive) (got, want string, err error) {
	at := Situation{Input: &rules.Input{}, Now: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}
	candidates := []*Compiled{DoNothing()}
	for _, f := range archive.Files {
		switch f.Name {
		case "actions":
			for line := range lines(f.Data) {
				var a nextbest.Action
				d := json.NewDecoder(strings.NewReader(line))
				d.DisallowUnknownFields()
				if err := d.Decode(&a); err != nil {
					return "", "", fmt.Errorf("actions: %s: %w", line, err)
				}
				c, err := Compile(a)
				if err != nil {
					return "", "", err
				}
				candidates = append(candidates, c)
			}
		case "customer":
			err = json.Unmarshal(f.Data, &at.Input.Customer)
		case "context":
			err = json.Unmarshal(f.Data, &at.Input.Context)
		case "channels":
			at.Channels = strings.Fields(string(f.Data))
		case "now":
			at.Now, err = time.Parse(time.RFC3339, strings.TrimSpace(string(f.Data)))
		case "history":
			for line := range lines(f.Data) {
				if line == "still loading" {
					at.Loading = true
					continue
				}
				k, err := contact(line, at.Now)
				if err != nil {
					return "", "", err
				}
				at.Contacts = append(at.Contacts, k)
			}
		case "want":
			want = string(f.Data)
		default:
			err = fmt.Errorf("unknown section %q", f.Name)
		}
		if err != nil {
			return "", "", fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	at.Input.SetNow(at.Now)
	var s Selection
	s.Select(candidates, &at)
	var b strings.Builder
	for _, e := range s.Eligible {
		c := candidates[e.Index]
		fmt.Fprintf(&b, "eligible %s", c.Action.ID)
		if e.Treatment != nil {
			fmt.Fprintf(&b, " by %s/%s", e.Treatment.Channel, e.Treatment.ID)
		}
		if c.Scale != 1 || c.Offset != 0 {
			fmt.Fprintf(&b, " worth %v per response, less %v", c.Scale, -c.Offset)
		}
		b.WriteByte('\n')
	}
	for _, e := range s.Excluded {
		b.WriteString(strings.TrimSpace(fmt.Sprintf("excluded %s: %s %s", e.Action, e.Reason, e.Detail)) + "\n")
	}
	return b.String(), want, nil
}

func lines(data []byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
			if line := strings.TrimSpace(s.Text()); line != "" && !strings.HasPrefix(line, "#") && !yield(line) {
				return
			}
		}
	}
}

// contact parses "3d ago: mens-email by email[, group mens][, reserved until 1h from now|reserved until 1h ago]".
func contact(line string, now time.Time) (nextbest.Contact, error) {
	fail := func() (nextbest.Contact, error) {
		return nextbest.Contact{}, fmt.Errorf("history line %q: write \"3d ago: mens-email by email\"", line)
	}
	when, what, ok := strings.Cut(line, " ago: ")
	age, err := nextbest.ParseDuration(when)
	if !ok || err != nil {
		return fail()
	}
	parts := strings.Split(what, ", ")
	action, channel, ok := strings.Cut(parts[0], " by ")
	if !ok {
		return fail()
	}
	k := nextbest.Contact{Action: action, Channel: channel, Time: now.Add(-age.Std()), Status: nextbest.Contacted}
	for _, p := range parts[1:] {
		if group, ok := strings.CutPrefix(p, "group "); ok {
			k.Group = group
		} else if until, ok := strings.CutPrefix(p, "reserved until "); ok {
			k.Status = nextbest.Reserved
			span, sign, ok := strings.Cut(until, " ")
			d, err := nextbest.ParseDuration(span)
			if !ok || err != nil {
				return fail()
			}
			if sign == "ago" {
				d = -d
			}
			k.Expires = now.Add(d.Std())
		} else {
			return fail()
		}
	}
	return k, nil
}
