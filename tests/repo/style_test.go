package repo

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"slices"
	"strings"
	"testing"
)

// rule is a demand on single files.
type rule struct {
	name   string
	reason string
	check  func(source) []string // what breaks it, each "line: what"
	except map[string]string     // path → reason
}

var rules = []rule{
	{
		name:   "gofmt",
		reason: "one format for all, so that a change shows only what changed",
		check: func(s source) []string {
			formatted, err := format.Source(s.text)
			if err != nil || !bytes.Equal(formatted, s.text) {
				return []string{"1: not formatted, run gofmt -w"}
			}
			return nil
		},
	},
	{
		name:   "no init",
		reason: "an init runs in every subcommand and in an order that nobody sees; pass values instead",
		check: func(s source) []string {
			return inspect(s, func(n ast.Node) string {
				if f, ok := n.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					return "func init"
				}
				return ""
			})
		},
	},
	{
		name:   "no package state",
		reason: "two servers, or a test beside another, must fit into one process; allowed are sentinel errors, compiled expressions, embedded files and interface guards",
		check:  packageState,
		except: map[string]string{
			"pkg/version/version.go": "the linker's -X writes package variables only",
		},
	},
	{
		name:   "no sleep",
		reason: "wait for a condition: a sleep is too long on a fast machine and too short on a slow one",
		check:  func(s source) []string { return calls(s, func(f string) bool { return f == "time.Sleep" }) },
	},
	{
		name:   "only pkg/cli prints or exits",
		reason: "a component returns its error, so that everything before it is stopped in order and reported once",
		check: func(s source) []string {
			if !s.isProduct() || s.Name.Name == "main" || s.under("pkg/cli") {
				return nil
			}
			return calls(s, printsOrExits)
		},
	},
	{
		name:   "no helper programs",
		reason: "the kernel is configured over netlink and system calls: the host need not have the program, and its version cannot matter",
		check:  helperPrograms,
	},
	{
		name:   "errors are wrapped",
		reason: "%w keeps errors.Is and errors.As working",
		check:  unwrappedErrors,
	},
	{
		name:   "file length",
		reason: "a file is one idea; 400 lines are more than one",
		check: func(s source) []string {
			if n := bytes.Count(s.text, []byte("\n")); n > 400 {
				return []string{fmt.Sprintf("1: %d lines, at most 400", n)}
			}
			return nil
		},
	},
	{
		name:   "function length",
		reason: "a function is read in one look; tests may hold long tables",
		check: func(s source) []string {
			if s.isTest() {
				return nil
			}
			return inspect(s, func(n ast.Node) string {
				if f, ok := n.(*ast.FuncDecl); ok && functionLines(s, f) > 60 {
					return fmt.Sprintf("%s has %d lines, at most 60", f.Name.Name, functionLines(s, f))
				}
				return ""
			})
		},
	},
}

func TestFiles(t *testing.T) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for _, s := range sources(t) {
				broken := rule.check(s)
				if _, ok := rule.except[s.path]; ok {
					if len(broken) == 0 {
						t.Errorf("%s keeps the rule: take it off the list of exceptions", s.path)
					}
					continue
				}
				for _, what := range broken {
					t.Errorf("%s:%s (%s)", s.path, what, rule.reason)
				}
			}
		})
	}
}

// TestPackageDocs: a package says what it is, who may import it and what it promises, where go doc shows it.
func TestPackageDocs(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if strings.HasSuffix(s.Name.Name, "_test") {
			continue
		}
		text := ""
		if s.Doc != nil {
			text = s.Doc.Text()
		}
		starts := strings.HasPrefix(text, "Package "+s.Name.Name+" ") || s.Name.Name == "main" && strings.HasPrefix(text, "Command ")
		documented[s.dir()] = documented[s.dir()] || starts
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: no comment that begins with Package or Command and its name", dir)
		}
	}
}

// TestSizes: most files and functions are far smaller than the limits on single ones.
func TestSizes(t *testing.T) {
	var files, functions []int
	for _, s := range sources(t) {
		if !s.isProduct() {
			continue
		}
		files = append(files, bytes.Count(s.text, []byte("\n")))
		for _, decl := range s.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				functions = append(functions, functionLines(s, f))
			}
		}
	}
	checkQuantile(t, "lines of files", files, 0.5, 110)
	checkQuantile(t, "lines of functions", functions, 0.5, 11)
	checkQuantile(t, "lines of functions", functions, 0.95, 60)
}

func checkQuantile(t *testing.T, what string, values []int, q float64, most int) {
	t.Helper()
	slices.Sort(values)
	got := values[int(q*float64(len(values)-1))]
	t.Logf("%s: quantile %.2f of %d is %d", what, q, len(values), got)
	if got > most {
		t.Errorf("%s: quantile %.2f is %d, want at most %d", what, q, got, most)
	}
}

func functionLines(s source, f *ast.FuncDecl) int {
	return s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1
}
