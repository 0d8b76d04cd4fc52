package config

import (
	"io/fs"
	"net/netip"
	"slices"
	"strings"
)

// EnvPrefix begins the environment variable of every option.
const EnvPrefix = "KEDGE_"

// Option is one setting of kedge. Its name is the flag and the key in configuration files.
type Option struct {
	Name    string
	Default string // as it would be written on the command line; lists with commas
	Derived string // says where the default comes from when it is not a constant
	Meta    string // stands for the value in help texts
	Help    string
	Roles   []Role
	OneOf   []string // the values that are possible; empty: not an enumeration
	Secret  bool     // never printed
	Outside bool     // not a key of configuration files
	Shared  bool     // the same on all machines of a cluster: an agent takes it from there

	field func(*Config) any
}

// Env is the environment variable that sets the option.
func (o Option) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(o.Name, "-", "_"))
}

// IsList tells whether the option takes several values: its flag may be repeated, and `key+:` appends in files.
func (o Option) IsList() bool {
	switch o.field(&Config{}).(type) {
	case *[]string, *[]netip.Addr, *[]netip.Prefix, *[]Arg:
		return true
	}
	return false
}

// IsBool tells whether the flag of the option may stand without a value.
func (o Option) IsBool() bool { return o.is(wantBool) }

// IsPlain tells whether files take the value as a number or a boolean.
func (o Option) IsPlain() bool { return o.is(wantBool) || o.is(wantNumber) || o.is(wantMode) }

// Type says in a word what a value looks like.
func (o Option) Type() string { return wanted(o.field(&Config{})) }

// Of tells whether the option belongs to role.
func (o Option) Of(role Role) bool { return slices.Contains(o.Roles, role) }

func (o Option) is(want string) bool { return o.Type() == want }

// What a value of an option has to be, in the words of error messages.
const (
	wantText   = "text"
	wantNumber = "a whole number"
	wantBool   = "true or false"
	wantMode   = "an octal file mode such as 0600"
	wantAddr   = "an IP address"
	wantPrefix = "a CIDR such as 10.42.0.0/16"
	wantArg    = "key=value"
)

func wanted(field any) string {
	switch field.(type) {
	case *int:
		return wantNumber
	case *bool:
		return wantBool
	case *fs.FileMode:
		return wantMode
	case *netip.Addr, *[]netip.Addr:
		return wantAddr
	case *[]netip.Prefix:
		return wantPrefix
	case *[]Arg:
		return wantArg
	}
	return wantText
}

// Options returns the options of a role, in the order of the help text.
func Options(role Role) []Option {
	all := slices.DeleteFunc(table(), func(o Option) bool { return !o.Of(role) })
	for i := range all {
		if all[i].Shared && role == RoleAgent {
			all[i].Default, all[i].Derived = "", "the cluster's"
		}
	}
	return all
}

func lookup(name string) (Option, bool) {
	for _, o := range table() {
		if o.Name == name {
			return o, true
		}
	}
	return Option{}, false
}
