package kernel

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Result is what was found about a feature.
type Result struct {
	Feature
	Err      error  // nil when it works
	Loadable bool   // it does not work, but a module for it is there
	Tried    bool   // the modules have been loaded as far as they could be
	How      string // what was found, in a few words
}

// Untried tells that the feature could not be tried for lack of privilege.
func (r Result) Untried() bool { return errors.Is(r.Err, unix.EPERM) }

// Probe tries the features in order. With load it loads the modules of those that do not work and tries again.
func Probe(ctx context.Context, features []Feature, load bool) ([]Result, error) {
	results := make([]Result, 0, len(features))
	err := inNetNS(func() error {
		rulesWork := tryRules(rules(features)...) == nil
		for _, f := range features {
			if err := ctx.Err(); err != nil {
				return err
			}
			r := Result{Feature: f}
			if f.rule == nil || !rulesWork {
				r.Err = f.try()
			}
			results = append(results, r)
		}
		return nil
	})
	if errors.Is(err, unix.EPERM) { // not root: nothing could be tried
		for _, f := range features[len(results):] {
			results = append(results, Result{Feature: f, Err: err})
		}
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("try kernel features: %w", err)
	}
	return explain(results, load), nil
}

func rules(features []Feature) []*rule {
	var all []*rule
	for _, f := range features {
		if f.rule != nil {
			all = append(all, f.rule)
		}
	}
	return all
}

func (f Feature) try() error {
	if f.rule != nil {
		return tryRules(f.rule)
	}
	return f.probe()
}

// explain adds to the results what the kernel's files tell; they are read only when something does not work.
func explain(results []Result, load bool) []Result {
	var modules *modules
	var config *config
	for i := range results {
		r := &results[i]
		if r.Err == nil {
			r.How = "works"
			continue
		}
		if modules == nil {
			modules, config = openModules(), openConfig()
		}
		if load && !r.Untried() {
			r.retry(modules)
		}
		if r.Err != nil {
			r.describe(modules, config)
		}
	}
	return results
}

// retry loads what can be loaded; only whether the feature then works counts.
func (r *Result) retry(m *modules) {
	r.Tried = true
	var failed []error
	for _, name := range r.Modules {
		if err := m.load(name); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == len(r.Modules) {
		r.Err = errors.Join(append([]error{r.Err}, failed...)...)
		return
	}
	if err := inNetNS(r.try); err != nil {
		r.Err = errors.Join(append([]error{err}, failed...)...)
		return
	}
	r.Err, r.How = nil, "works, module loaded"
}

// Advice says how to get the feature.
func (r Result) Advice() string {
	advice := "use a kernel with " + strings.Join(r.Configs, ", ")
	if len(r.Modules) > 0 {
		advice = "load the module (modprobe " + r.Modules[len(r.Modules)-1] + ", for a container on its host), or " + advice
	}
	return advice
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", ", ") }

func (r *Result) describe(m *modules, c *config) {
	if r.Untried() {
		r.How = "not tried: needs root"
		return
	}
	for _, name := range r.Modules {
		if m.available(name) {
			r.Loadable = true
			r.How = "not loaded, module " + name + " is there"
			if r.Tried {
				r.How = "module " + name + " is there, but does not help: " + oneLine(r.Err)
			}
		}
	}
	if r.Loadable {
		return
	}
	r.How = "missing"
	for _, option := range r.Configs {
		if v := c.value(option); v != "" {
			r.How += fmt.Sprintf(", %s=%s", option, v)
		}
	}
}
