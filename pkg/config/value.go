package config

import "fmt"

type originKind int

const (
	fromDefault originKind = iota
	fromMachine
	fromCluster
	fromFile
	fromEnv
	fromFlag
)

// Origin tells where a value was given.
type Origin struct {
	kind originKind
	file string
	line int
}

// String describes the origin of the value of an option, such as "/etc/kedge/config.yaml:3".
func (o Origin) String(option string) string {
	switch o.kind {
	case fromFlag:
		return "--" + option
	case fromEnv:
		return Option{Name: option}.Env()
	case fromFile:
		return fmt.Sprintf("%s:%d", o.file, o.line)
	case fromMachine:
		return "detected"
	case fromCluster:
		return "the cluster"
	}
	return "default"
}

// label begins an error about the value of an option.
func (o Origin) label(option string) string {
	switch o.kind {
	case fromFlag, fromEnv:
		return o.String(option)
	case fromFile:
		return o.String(option) + ": " + option
	}
	return option + " (" + o.String(option) + ")"
}

// item is one text given for an option.
type item struct {
	text   string
	origin Origin
}

// Value is what one place says about one option.
type Value struct {
	option string
	items  []item
	extend bool // add to what was said before instead of replacing it
}

// FlagValue is a value from the command line: the arguments of all occurrences of the flag, in order.
func FlagValue(option string, texts ...string) Value {
	return newValue(option, Origin{kind: fromFlag}, texts)
}

func newValue(option string, origin Origin, texts []string) Value {
	v := Value{option: option}
	for _, t := range texts {
		v.items = append(v.items, item{t, origin})
	}
	return v
}
