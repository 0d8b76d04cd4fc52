package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kedge/pkg/config"
)

// raw is the value of a flag as it was written. pkg/config reads it together with what files and the environment
// say, so that all errors are reported at once.
type raw struct {
	option config.Option
	texts  []string
}

var _ pflag.Value = (*raw)(nil)

// String returns the default, for help texts.
func (r *raw) String() string { return r.option.Default }

// Set remembers one occurrence of the flag.
func (r *raw) Set(text string) error {
	r.texts = append(r.texts, text)
	return nil
}

// Type stands for the value in help texts.
func (r *raw) Type() string {
	if r.option.IsBool() {
		return "bool"
	}
	return r.option.Meta
}

// options are the flags of a command that set options of pkg/config.
type options struct {
	role  config.Role
	flags []*raw
}

// addOptions gives cmd the flags of a role's options, or only the named ones.
func addOptions(cmd *cobra.Command, role config.Role, names ...string) *options {
	o := &options{role: role}
	cmd.Flags().SortFlags = false
	for _, option := range config.Options(role) {
		if len(names) > 0 && !slices.Contains(names, option.Name) {
			continue
		}
		r := &raw{option: option}
		flag := cmd.Flags().VarPF(r, option.Name, "", usage(option))
		if option.IsBool() {
			flag.NoOptDefVal = "true"
		}
		o.flags = append(o.flags, r)
	}
	return o
}

func usage(o config.Option) string {
	text := o.Help
	if len(o.OneOf) > 0 {
		text += ": " + strings.Join(o.OneOf, ", ")
	}
	if o.IsList() {
		text += " (repeatable)"
	}
	if o.Derived != "" {
		text += fmt.Sprintf(" (default %s)", o.Derived)
	}
	return text
}

// values returns what the flags say.
func (o *options) values() []config.Value {
	var out []config.Value
	for _, r := range o.flags {
		if len(r.texts) > 0 {
			out = append(out, config.FlagValue(r.option.Name, r.texts...))
		}
	}
	return out
}

func (o *options) load(a *app) (config.Sources, error) {
	return config.Load(o.role, o.values(), a.Getenv)
}

func (o *options) resolve(a *app) (*config.Config, error) {
	sources, err := o.load(a)
	if err != nil {
		return nil, err
	}
	return config.Resolve(sources, a.Machine)
}

func (o *options) layout(a *app) (config.Layout, error) {
	sources, err := o.load(a)
	if err != nil {
		return config.Layout{}, err
	}
	return sources.Layout()
}

// outputFlag adds -o with the formats that are known; the first is the default.
func outputFlag(cmd *cobra.Command, formats ...string) func() (string, error) {
	format := cmd.Flags().StringP("output", "o", formats[0], "form of the output: "+strings.Join(formats, " or "))
	return func() (string, error) {
		if !slices.Contains(formats, *format) {
			return "", wrongUse("--output: %q is not known; want %s", *format, strings.Join(formats, " or "))
		}
		return *format, nil
	}
}
