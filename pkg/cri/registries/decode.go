package registries

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"kedge/pkg/config"
)

// decoder reads the file's syntax tree, because errors have to name lines and the order of rewrites counts.
// It goes on after an error to find the others.
type decoder struct {
	file     string
	problems []error
}

// fail never gets a value that could be secret.
func (d *decoder) fail(n *yaml.Node, format string, args ...any) {
	d.problems = append(d.problems, fmt.Errorf("%s:%d: %s", d.file, n.Line, fmt.Sprintf(format, args...)))
}

func (d *decoder) decode(data []byte) *Registries {
	r := &Registries{Mirrors: map[string]Mirror{}, Configs: map[string]Settings{}}
	var root yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&root); errors.Is(err, io.EOF) {
		return r
	} else if err != nil {
		d.problems = append(d.problems, fmt.Errorf("parse %s: %w", d.file, err))
		return r
	}
	d.fields(root.Content[0], "the file", map[string]func(*yaml.Node){
		"mirrors": func(n *yaml.Node) {
			d.entries(n, "mirrors", func(k, v *yaml.Node) { r.Mirrors[k.Value] = d.mirror(k, v) })
		},
		"configs": func(n *yaml.Node) {
			d.entries(n, "configs", func(k, v *yaml.Node) { r.Configs[k.Value] = d.settings(k, v) })
		},
	})
	return r
}

// entries calls each for every pair of a mapping. An empty value is an empty mapping.
func (d *decoder) entries(n *yaml.Node, what string, each func(key, value *yaml.Node)) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n, "%s must be a mapping (key: value)", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if seen[key.Value] {
			d.fail(key, "%q is there twice", key.Value)
			continue
		}
		seen[key.Value] = true
		each(key, n.Content[i+1])
	}
}

// fields is entries for a mapping whose keys are known.
func (d *decoder) fields(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	d.entries(n, what, func(key, value *yaml.Node) {
		read, ok := known[key.Value]
		if !ok {
			d.unknown(key, what, sortedKeys(known))
			return
		}
		read(value)
	})
}

func (d *decoder) unknown(key *yaml.Node, what string, known []string) {
	if near, ok := config.Nearest(key.Value, known); ok {
		d.fail(key, "unknown key %q in %s; did you mean %s?", key.Value, what, near)
		return
	}
	d.fail(key, "unknown key %q in %s; known are %s", key.Value, what, enumerate(known))
}

func (d *decoder) text(what string, into *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			d.fail(n, "%s must be text", what)
			return
		}
		*into = n.Value
	}
}

func (d *decoder) boolean(what string, into *bool) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Tag != "!!bool" || n.Decode(into) != nil {
			d.fail(n, "%s must be true or false", what)
		}
	}
}

func (d *decoder) mirror(key, n *yaml.Node) Mirror {
	var m Mirror
	what := fmt.Sprintf("mirror %q", key.Value)
	d.checkHost(key, what)
	d.fields(n, what, map[string]func(*yaml.Node){
		"endpoint": func(n *yaml.Node) { m.Endpoints = d.endpoints(n, what) },
		"rewrite": func(n *yaml.Node) {
			d.entries(n, "rewrite of "+what, func(k, v *yaml.Node) { m.Rewrites = append(m.Rewrites, d.rewrite(k, v)) })
		},
	})
	if len(m.Rewrites) > 0 && len(m.Endpoints) == 0 {
		d.fail(key, "%s rewrites names for no endpoint: rewrites apply to the endpoints listed, never to the registry itself; add endpoint", what)
	}
	return m
}

func (d *decoder) endpoints(n *yaml.Node, what string) []string {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, "endpoint of %s must be a list of URLs", what)
		return nil
	}
	var out []string
	for _, item := range n.Content {
		var text string
		d.text("an endpoint of "+what, &text)(item)
		if text == "" {
			continue
		}
		if _, err := parseEndpoint(text); err != nil {
			d.fail(item, "%s of %s %v", describe(text), what, err)
			continue
		}
		out = append(out, text)
	}
	return out
}

// describe hides a URL that may hold a password.
func describe(endpoint string) string {
	if strings.Contains(endpoint, "@") {
		return "an endpoint"
	}
	return fmt.Sprintf("endpoint %q", endpoint)
}

func (d *decoder) rewrite(key, n *yaml.Node) Rewrite {
	pattern, err := regexp.Compile(key.Value)
	if err != nil {
		d.fail(key, "rewrite: %v", err)
	}
	r := Rewrite{Pattern: pattern}
	d.text(fmt.Sprintf("the replacement of %q", key.Value), &r.Replacement)(n)
	return r
}
