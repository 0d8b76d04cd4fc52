package repo

import (
	"go/parser"
	"go/token"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRules: a rule that finds nothing in the tree must still find what it is there for.
func TestRules(t *testing.T) {
	tests := map[string]struct {
		path, code string
		want       map[string]string // rule → first finding
	}{
		"clean": {
			path: "pkg/a/a.go",
			code: "package a\n\nimport \"errors\"\n\nvar errA = errors.New(\"a\")\n\nvar _ error = errA\n",
		},
		"init and state": {
			path: "pkg/a/a.go",
			code: "package a\n\nvar count int\n\nfunc init() { count++ }\n",
			want: map[string]string{"no init": "5: func init", "no package state": "3: var count"},
		},
		"state with a value": {
			path: "pkg/a/a.go",
			code: "package a\n\nvar names = map[string]int{}\n",
			want: map[string]string{"no package state": "3: var names"},
		},
		"sleep, also in a test": {
			path: "pkg/a/a_test.go",
			code: "package a\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n",
			want: map[string]string{"no sleep": "5: time.Sleep"},
		},
		"exit": {
			path: "pkg/a/a.go",
			code: "package a\n\nimport \"os\"\n\nfunc f() { os.Exit(1) }\n",
			want: map[string]string{"only pkg/cli prints or exits": "5: os.Exit"},
		},
		"exit of the command line": {
			path: "pkg/cli/a.go",
			code: "package cli\n\nimport \"os\"\n\nfunc f() { os.Exit(1) }\n",
		},
		"helper": {
			path: "pkg/a/a.go",
			code: "package a\n\nimport \"os/exec\"\n\nvar _ = exec.Command(\"/sbin/ip\", \"link\")\n",
			want: map[string]string{"no helper programs": "5: runs \"/sbin/ip\""},
		},
		"error without %w": {
			path: "pkg/a/a.go",
			code: "package a\n\nimport \"fmt\"\n\nfunc f(err error) error { return fmt.Errorf(\"do: %v\", err) }\n",
			want: map[string]string{"errors are wrapped": "5: fmt.Errorf with err and without %w"},
		},
		"format": {
			path: "pkg/a/a.go",
			code: "package a\n\nfunc f( ) { }\n",
			want: map[string]string{"gofmt": "1: not formatted, run gofmt -w"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, test.path, test.code, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]string
			for _, rule := range rules {
				if found := rule.check(source{path: test.path, text: []byte(test.code), set: set, File: file}); len(found) > 0 {
					if got == nil {
						got = map[string]string{}
					}
					got[rule.name] = found[0]
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
