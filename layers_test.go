package nextbest

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers is the map: each folder and the folders of ours it may import.
var layers = map[string][]string{
	".":                            {},
	"bandit":                       {"."},
	"estimators":                   {},
	"experiments":                  {".", "estimators"},
	"logging":                      {"."},
	"offline":                      {".", "bandit", "estimators", "experiments"},
	"offline/classification":       {".", "bandit"},
	"offline/coverage":             {"estimators"},
	"offline/pages":                {"offline", "estimators"},
	"internal/rules":               {},
	"internal/actions":             {".", "internal/rules"},
	"internal/decisions":           {".", "internal/actions", "internal/rules", "bandit", "experiments"},
	"internal/learning":            {".", "bandit"},
	"internal/registry":            {"."},
	"internal/embedded":            {},
	"internal/embedded/enginetest": {"internal/embedded"},
	"internal/api":                 {".", "bandit", "estimators", "experiments", "offline", "internal/actions", "internal/rules", "internal/decisions", "internal/learning"},
	"internal/console":             {".", "bandit", "estimators", "experiments", "offline", "internal/actions", "internal/rules", "internal/decisions", "internal/learning"},
	"cmd/nextbest":                 {"*"},
}

// owners lists the libraries that only some folders may import.
var owners = map[string][]string{
	"github.com/ClickHouse/":        {"logging", "internal/embedded"},
	"github.com/gin-gonic/":         {"internal/api", "internal/console", "cmd/nextbest/bench"},
	"github.com/nats-io/":           {"logging", "internal/registry", "internal/embedded", "internal/embedded/enginetest", "cmd/nextbest"},
	"github.com/danielgtaylor/huma": {"internal/api"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

// TestLayers keeps the imports of every package within the map.
func TestLayers(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		folder := ours(p.ImportPath)
		allowed, known := layers[folder]
		if !known && strings.HasPrefix(folder, "cmd/nextbest/") {
			allowed, known = []string{"*"}, true
		}
		if !known {
			t.Errorf("%s is not in the map: give it a row in layers, or a better place", folder)
			continue
		}
		for _, imp := range p.Imports {
			if f := ours(imp); f != "" && !slices.Contains(allowed, "*") && !slices.Contains(allowed, f) {
				t.Errorf("%s imports %s, which the map does not allow", folder, f)
			}
			for prefix, may := range owners {
				if strings.HasPrefix(imp, prefix) && !slices.Contains(may, folder) {
					t.Errorf("%s imports %s; only %v may", folder, imp, may)
				}
			}
		}
	}
	if seen < len(layers)-2 {
		t.Errorf("go list found %d packages, the map has %d", seen, len(layers))
	}
}

func ours(path string) string {
	if path == "nextbest" {
		return "."
	}
	if rest, ok := strings.CutPrefix(path, "nextbest/"); ok {
		return rest
	}
	return ""
}

// TestPackageComments asks for a package comment on every package.
func TestPackageComments(t *testing.T) {
	commented := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		commented[dir] = commented[dir] || hasComment(f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, ok := range commented {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

func hasComment(f *ast.File) bool { return f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != "" }

// TestTopLevel keeps the root of the tree short.
func TestTopLevel(t *testing.T) {
	folders := []string{"cmd", "bandit", "experiments", "logging", "offline", "estimators", "deploy", "notebooks", "internal", "docs", "python"}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(folders, e.Name()) && e.Name() != "bin" {
			t.Errorf("folder %s does not belong at the top", e.Name())
		}
	}
}
