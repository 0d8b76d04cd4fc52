package kernel

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// modules are the loadable modules of the running kernel, none when its directory is not there.
type modules struct {
	dir  string
	file map[string]string   // name → path inside dir
	deps map[string][]string // name → names it needs, as modules.dep(5) orders them
}

func openModules() *modules {
	for _, root := range []string{"/lib/modules", "/usr/lib/modules"} {
		dir := filepath.Join(root, release())
		if text, err := os.ReadFile(filepath.Join(dir, "modules.dep")); err == nil {
			return parseModules(dir, string(text))
		}
	}
	return &modules{}
}

// parseModules reads lines "kernel/net/a.ko.xz: kernel/net/b.ko.xz kernel/net/c.ko.xz".
func parseModules(dir, text string) *modules {
	m := &modules{dir: dir, file: map[string]string{}, deps: map[string][]string{}}
	for line := range strings.Lines(text) {
		file, needs, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		name := moduleName(file)
		m.file[name] = file
		for need := range strings.FieldsSeq(needs) {
			m.deps[name] = append(m.deps[name], moduleName(need))
		}
	}
	return m
}

// moduleName is the file's name up to .ko; the kernel writes an underscore for a hyphen.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

func (m *modules) available(name string) bool { return m.file[name] != "" }

// load loads a module after those it needs. One that is loaded or built in is no error.
func (m *modules) load(name string) error {
	if _, err := os.Stat("/sys/module/" + name); err == nil {
		return nil
	}
	order, err := m.order(name)
	if err != nil {
		return err
	}
	for _, n := range order {
		if err := insert(filepath.Join(m.dir, m.file[n])); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load module %s: %w", n, err)
		}
	}
	return nil
}

// order lists what to load for name, first things first, each once.
func (m *modules) order(name string) ([]string, error) {
	if !m.available(name) {
		return nil, fmt.Errorf("load module %s: not found in modules.dep of the running kernel", name)
	}
	var order []string
	seen := map[string]bool{}
	var visit func(string)
	visit = func(n string) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, d := range m.deps[n] {
			visit(d)
		}
		order = append(order, n)
	}
	visit(name)
	return order, nil
}
