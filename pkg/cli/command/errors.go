package command

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kedge/pkg/config"
)

// The exit status of the process.
const (
	success  = 0
	failure  = 1
	misusage = 2
)

// usageError is an error of the caller.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func wrongUse(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// statusError ends the process with a status after everything has been said.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// report prints an error and returns the exit status for it.
func (a *app) report(err error) int {
	if err == nil {
		return success
	}
	if said, ok := errors.AsType[statusError](err); ok {
		return int(said)
	}
	fmt.Fprintf(a.Err, "kedge: %v\n", err) // nowhere left to say it
	var usage usageError
	var invalid *config.InvalidError
	if errors.As(err, &usage) || errors.As(err, &invalid) && invalid.WrongUse() {
		return misusage
	}
	return failure
}

// flagError names the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return wrongUse("%s: %w", cmd.CommandPath(), err)
	}
	if short := unknown.GetSpecifiedShortnames(); short != "" {
		return wrongUse("%s: unknown flag -%s; %s", cmd.CommandPath(), short, seeHelp(cmd))
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	name := unknown.GetSpecifiedName()
	if best, ok := config.Nearest(name, known); ok {
		return wrongUse("%s: unknown flag --%s; did you mean --%s?", cmd.CommandPath(), name, best)
	}
	return wrongUse("%s: unknown flag --%s; %s", cmd.CommandPath(), name, seeHelp(cmd))
}

func unknownCommand(cmd *cobra.Command, name string) error {
	var known []string
	for _, c := range cmd.Commands() {
		known = append(known, c.Name())
	}
	if best, ok := config.Nearest(name, known); ok {
		return wrongUse("unknown command %q; did you mean %s %s?", name, cmd.CommandPath(), best)
	}
	return wrongUse("unknown command %q; %s", name, seeHelp(cmd))
}

func seeHelp(cmd *cobra.Command) string { return "see " + cmd.CommandPath() + " --help" }

// noArgs refuses arguments that are not flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongUse("%s takes no arguments, found %q", cmd.CommandPath(), args[0])
	}
	return nil
}
