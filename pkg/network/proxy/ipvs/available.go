package ipvs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"kedge/pkg/node/kernel"
)

// Available tells whether the kernel has IPVS, after loading modules for it where it can. The error says what was tried and found.
func Available() error {
	var features []kernel.Feature
	for _, f := range kernel.Features(kernel.Need{ProxyMode: "ipvs"}) {
		if strings.HasPrefix(f.Name, "IPVS") && f.Required {
			features = append(features, f)
		}
	}
	results, err := kernel.Probe(context.Background(), features, true)
	if err != nil {
		return fmt.Errorf("look for IPVS: %w", err)
	}
	var errs []error
	for _, r := range results {
		if r.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %s; %s: %w", r.Name, r.How, r.Advice(), r.Err))
		}
	}
	return errors.Join(errs...)
}

// loadScheduler loads the module of a scheduler.
func loadScheduler(name string) error {
	if strings.ContainsAny(name, "./ ") {
		return fmt.Errorf("load IPVS scheduler: %q is no name of one", name)
	}
	return kernel.Load("ip_vs_" + name)
}
