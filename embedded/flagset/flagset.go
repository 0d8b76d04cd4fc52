// Package flagset parses the flags of an upstream component: kedge's own first, then the user's, which win. The adapters
// of components import it.
package flagset

import (
	"fmt"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"

	"kedge/pkg/config"
)

// Parse sets the flags in sets from kedge's own (--key=value) and from the user's, which were given with option.
func Parse(sets cliflag.NamedFlagSets, option string, own []string, users []config.Arg) error {
	fs := pflag.NewFlagSet(option, pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		fs.AddFlagSet(set)
	}
	if err := fs.Parse(own); err != nil {
		return fmt.Errorf("set kedge's own flags: %w", err)
	}
	for _, a := range users {
		if err := fs.Parse([]string{"--" + a.String()}); err != nil {
			return fmt.Errorf("apply --%s %s: %w", option, a, err)
		}
	}
	return nil
}
