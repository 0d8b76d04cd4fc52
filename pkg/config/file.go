package config

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// file is a configuration file that is being read.
type file struct {
	name     string
	role     Role
	values   []Value
	seen     map[string]int // key without "+" → line
	problems []error
}

// parseFile reads the text of a configuration file: `key: value` lines of YAML. What can be understood is returned
// together with all problems.
func parseFile(name, text string, role Role) ([]Value, []error) {
	f := &file{name: name, role: role, seen: map[string]int{}}
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var document, more yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, []error{fmt.Errorf("%s: not valid YAML: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		f.report(more.Line, "the file must hold one YAML document; remove what follows the first")
	}
	f.document(&document)
	return f.values, f.problems
}

func (f *file) report(line int, format string, args ...any) {
	f.problems = append(f.problems, fmt.Errorf("%s:%d: %s", f.name, max(line, 1), fmt.Sprintf(format, args...)))
}

func (f *file) document(document *yaml.Node) {
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return
	}
	if root.Kind != yaml.MappingNode {
		f.report(root.Line, "want lines of the form key: value, found %s", describe(root))
		return
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		f.entry(root.Content[i], root.Content[i+1])
	}
}

func (f *file) entry(key, value *yaml.Node) {
	name, extend := strings.CutSuffix(key.Value, "+")
	if first, twice := f.seen[name]; twice {
		f.report(key.Line, "%s: given a second time, first on line %d", key.Value, first)
		return
	}
	f.seen[name] = key.Line
	o, ok := f.option(key.Line, name)
	if !ok {
		return
	}
	if extend && !o.IsList() {
		f.report(key.Line, "%s+: only lists can be added to, and %s takes one value; write %s:", name, name, name)
		return
	}
	v := Value{option: name, extend: extend}
	for _, node := range elements(value, o.IsList()) {
		text, ok := f.scalar(o, node)
		if !ok { // a value in part would lead to further errors
			return
		}
		v.items = append(v.items, item{text, Origin{kind: fromFile, file: f.name, line: node.Line}})
	}
	f.values = append(f.values, v)
}

// option finds the option that a key names.
func (f *file) option(line int, name string) (Option, bool) {
	o, ok := lookup(name)
	switch {
	case !ok:
		f.report(line, "unknown key %q%s", name, didYouMean(name, keys(f.role), "kedge config print shows all keys"))
	case o.Outside:
		f.report(line, "%s cannot be set in a file; use --%s or %s", name, name, o.Env())
	case !o.Of(f.role):
		f.report(line, "%s is an option of kedge %s, not of kedge %s", name, o.Roles[0], f.role)
	default:
		return o, true
	}
	return o, false
}

// keys returns what may stand in a file.
func keys(role Role) []string {
	var out []string
	for _, o := range Options(role) {
		if !o.Outside {
			out = append(out, o.Name)
		}
	}
	return out
}

// elements returns the nodes of the values: a list option may be given as a list or as one value.
func elements(n *yaml.Node, list bool) []*yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if list && n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{n}
}

// scalar checks the type of one value. Text may look like a number; numbers and booleans have to be ones.
func (f *file) scalar(o Option, n *yaml.Node) (string, bool) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	tag := n.ShortTag()
	ok := n.Kind == yaml.ScalarNode
	switch o.Type() {
	case wantNumber:
		ok = ok && tag == "!!int"
	case wantBool:
		ok = ok && tag == "!!bool"
	default:
		ok = ok && (tag == "!!str" || tag == "!!int" || tag == "!!float" || tag == "!!timestamp")
	}
	if !ok {
		want := o.Type()
		if o.IsList() {
			want = "a list, each " + want
		}
		f.report(n.Line, "%s: want %s, found %s", o.Name, want, describe(n))
	}
	return n.Value, ok
}

// describe says in words what a node is.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool":
		return n.Value
	case "!!int", "!!float":
		return "the number " + n.Value
	}
	return fmt.Sprintf("the text %q", n.Value)
}
