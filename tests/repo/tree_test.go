package repo

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// root is the top of the checkout, seen from this directory, where go test runs.
const root = "../.."

// source is one Go file of the module.
type source struct {
	path string // from the top of the checkout, with slashes
	text []byte
	set  *token.FileSet
	*ast.File
}

func (s source) dir() string  { return path.Dir(s.path) }
func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// isProduct reports whether the file is part of an executable that is shipped.
func (s source) isProduct() bool {
	return !s.isTest() && s.under("cmd", "pkg", "embedded") && !s.under("embedded/payload/internal")
}

// under reports whether the file is in one of the directories or below.
func (s source) under(dirs ...string) bool {
	for _, dir := range dirs {
		if strings.HasPrefix(s.path, dir+"/") {
			return true
		}
	}
	return false
}

// line is the line number of a node.
func (s source) line(node ast.Node) int { return s.set.Position(node.Pos()).Line }

var parseOnce = sync.OnceValues(parseTree)

// sources parses the module's Go files once for all tests.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := parseOnce()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no Go files found")
	}
	return all
}

func parseTree() ([]source, error) {
	var all []source
	err := walk(func(name string) error {
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, text, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, source{path: name, text: text, set: set, File: file})
		return nil
	})
	return all, err
}

// outputs are the directories that builds and tools write, which git ignores.
var outputs = map[string]bool{".git": true, "bin": true, "build": true, "dist": true, "embedded/payload/data": true}

// walk calls visit with every file of the checkout but build outputs and nested modules.
func walk(visit func(name string) error) error {
	return fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			_, noModule := os.Stat(filepath.Join(root, name, "go.mod"))
			if outputs[name] || (name != "." && noModule == nil) {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		return visit(name)
	})
}
