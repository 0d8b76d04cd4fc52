package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Sources is all that was said about the options of a role, before it is merged and checked.
type Sources struct {
	Role     Role
	values   []Value // the later ones win
	problems []error // what could not be understood in files
}

// Getenv looks an environment variable up, as os.LookupEnv does.
type Getenv func(name string) (string, bool)

// Load collects what the configuration files, the environment and the flags say. Problems inside files are kept for
// Resolve, which reports them with all others; the error is for files that cannot be read, and what else was found is
// returned with it.
func Load(role Role, flags []Value, env Getenv) (Sources, error) {
	fromEnvironment := environment(role, env)
	name, given := configFile(append(fromEnvironment, flags...))
	s, err := loadFiles(role, name, given)
	s.values = append(append(s.values, fromEnvironment...), flags...)
	return s, err
}

// LoadFile collects what one configuration file says, and those in the directory beside it, and nothing else.
func LoadFile(role Role, name string) (Sources, error) {
	return loadFiles(role, name, true)
}

// configFile returns the name of the main file, and whether somebody asked for it.
func configFile(values []Value) (string, bool) {
	name, given := DefaultConfigFile, false
	for _, v := range values {
		if v.option == "config" && len(v.items) > 0 {
			name, given = v.items[len(v.items)-1].text, true
		}
	}
	return name, given
}

func loadFiles(role Role, name string, must bool) (Sources, error) {
	s := Sources{Role: role}
	files, err := filepath.Glob(filepath.Join(escapeGlob(name+".d"), "*.yaml")) // sorted
	if err != nil {
		return s, fmt.Errorf("list configuration files: %w", err)
	}
	for i, f := range append([]string{name}, files...) {
		text, err := os.ReadFile(f)
		if i == 0 && errors.Is(err, fs.ErrNotExist) {
			if must {
				s.problems = append(s.problems, fmt.Errorf("configuration file %s does not exist", f))
			}
			continue
		}
		if err != nil {
			return s, fmt.Errorf("read configuration file: %w", err)
		}
		values, problems := parseFile(f, string(text), role)
		s.values = append(s.values, values...)
		s.problems = append(s.problems, problems...)
	}
	return s, nil
}

func escapeGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// environment returns the values of the variables that are set and not empty. Lists are separated by commas,
// key=value arguments by line breaks, because their values may hold commas.
func environment(role Role, env Getenv) []Value {
	var out []Value
	for _, o := range Options(role) {
		text, _ := env(o.Env())
		if text == "" {
			continue
		}
		texts := []string{text}
		if o.is(wantArg) {
			texts = strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
		}
		out = append(out, newValue(o.Name, Origin{kind: fromEnv}, texts))
	}
	return out
}

// Text returns what the sources say about an option that takes one value, or its default, unchecked. It is for commands
// that need one path and have to work when the rest of the configuration is wrong.
func (s Sources) Text(option string) string {
	o, _ := lookup(option)
	text := o.Default
	for _, v := range s.values {
		if v.option == option && len(v.items) > 0 {
			text = v.items[len(v.items)-1].text
		}
	}
	return text
}

// Layout returns where files are. It is for commands that need nothing else: other options are not checked, but the
// files have to be free of errors, lest one hides the data directory.
func (s Sources) Layout() (Layout, error) {
	r := &resolution{given: map[string][]item{}, bad: map[string]bool{}, problems: slices.Clone(s.problems)}
	r.Role = s.Role
	for _, name := range []string{"data-dir", "write-kubeconfig", "registries-config"} {
		if o, _ := lookup(name); o.Of(s.Role) {
			r.given[name] = merge(o, s.values)
			r.decode(o)
		}
	}
	r.Layout = NewLayout(r.Layout.DataDir)
	r.checkGeneral()
	return r.Layout, invalid(r.problems)
}
