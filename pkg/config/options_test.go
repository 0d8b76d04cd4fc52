package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write OPTIONS.md") //nolint:gochecknoglobals // a flag of the tests

// TestOptionsPage keeps OPTIONS.md, the reference of all options, in step with the table.
// `go test ./pkg/config -update` rewrites it.
func TestOptionsPage(t *testing.T) {
	want := page()
	if *update {
		must(t, os.WriteFile("OPTIONS.md", []byte(want), 0o644))
	}
	got, err := os.ReadFile("OPTIONS.md")
	must(t, err)
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("OPTIONS.md is not what the table says; run go test ./pkg/config -update\n%s", diff)
	}
}

func page() string {
	var b strings.Builder
	b.WriteString("# Options\n\nThe name is the flag (`--name`) and the key in `/etc/kedge/config.yaml` and `/etc/kedge/config.yaml.d/*.yaml`.\n" +
		"A flag wins over the environment, that over the files of the directory in alphabetical order, those over the file.\n" +
		"Lists are written with commas or by repeating the flag, as YAML lists in files; `name+:` in a file adds to the list that was given before.\n" +
		"Environment variables of `key=value` arguments hold one per line.\n\n" +
		"| name | environment | for | default | meaning |\n|---|---|---|---|---|\n")
	for _, o := range table() {
		help := o.Help
		if len(o.OneOf) > 0 {
			help += ": " + strings.Join(o.OneOf, ", ")
		}
		if o.Shared {
			help += "; an agent takes it from its cluster"
		}
		def := o.Derived
		if o.Default != "" {
			def = "`" + o.Default + "`"
		}
		list := ""
		if o.IsList() {
			list = " (list)"
		}
		fmt.Fprintf(&b, "| `%s`%s | `%s` | %s | %s | %s |\n", o.Name, list, o.Env(), roles(o), def, help)
	}
	return b.String()
}

func roles(o Option) string {
	var out []string
	for _, r := range o.Roles {
		out = append(out, string(r))
	}
	return strings.Join(out, ", ")
}

// TestTable holds the rules that every row of the table keeps.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range table() {
		if seen[o.Name] {
			t.Errorf("%s is in the table twice", o.Name)
		}
		seen[o.Name] = true
		if o.Help == "" || len(o.Roles) == 0 || o.field == nil || (o.Meta == "" && !o.IsBool()) {
			t.Errorf("%s lacks a column", o.Name)
		}
		if len(texts(o.field(&Config{}))) == 0 && !o.IsList() {
			t.Errorf("%s has a field of a type that cannot be shown", o.Name)
		}
	}
}
