package config

import (
	"errors"
	"fmt"
	"strings"
)

// ErrDetect marks what could not be found out about the machine: nobody wrote anything wrong.
var ErrDetect = errors.New("not detected")

// InvalidError holds everything that is wrong with a configuration.
type InvalidError struct {
	Problems []error
}

// Error returns the only problem, or all of them, one per line.
func (e *InvalidError) Error() string {
	if len(e.Problems) == 1 {
		return e.Problems[0].Error()
	}
	lines := []string{fmt.Sprintf("the configuration has %d errors:", len(e.Problems))}
	for _, p := range e.Problems {
		lines = append(lines, "  "+p.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.Is access to the problems.
func (e *InvalidError) Unwrap() []error { return e.Problems }

// WrongUse tells whether a problem lies in what was written, as opposed to what the machine is like.
func (e *InvalidError) WrongUse() bool {
	for _, p := range e.Problems {
		if !errors.Is(p, ErrDetect) {
			return true
		}
	}
	return false
}

// detectError keeps its own words and is ErrDetect.
type detectError struct{ text string }

func (e detectError) Error() string        { return e.text }
func (e detectError) Is(target error) bool { return target == ErrDetect }

// invalid makes an error of problems, nil when there are none.
func invalid(problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	return &InvalidError{Problems: problems}
}

// Written drops from Resolve's error what could not be detected: it is the verdict on what was written alone.
func Written(_ *Config, err error) error {
	var all *InvalidError
	if !errors.As(err, &all) {
		return err
	}
	var out []error
	for _, p := range all.Problems {
		if !errors.Is(p, ErrDetect) {
			out = append(out, p)
		}
	}
	return invalid(out)
}
