package check

import (
	"context"
	"fmt"
	"sync"

	"kedge/pkg/config"
	"kedge/pkg/node/kernel"
	"kedge/pkg/node/machine"
	"kedge/pkg/node/ports"
)

// Options say what the machine is meant to run.
type Options struct {
	Layout config.Layout // required
	Facts  machine.Facts // required: of machine.Detect
	Ports  []ports.Port  // of ports.Server and ports.Agent

	Overlay   string // --overlay-backend
	ProxyMode string // --proxy-mode

	// LoadModules loads the kernel modules of features that do not work yet.
	LoadModules bool
	// Running is the process id of a kedge that runs on the data directory: the ports it holds are well.
	Running int
}

// Run examines the machine.
func Run(ctx context.Context, o Options) (Report, error) {
	var features, rest Report
	var failed error
	var both sync.WaitGroup
	both.Go(func() { features, failed = kernelFeatures(ctx, o) })
	both.Go(func() { rest = join(sysctls(), portsOf(o), disk(o), overlay(o), clock()) })
	both.Wait()
	if failed != nil {
		return nil, fmt.Errorf("examine machine: %w", failed)
	}
	return join(privileges(o.Facts), size(o.Facts), cgroups(o.Facts), features, environment(), rest), ctx.Err()
}

func join(parts ...Report) Report {
	var all Report
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func kernelFeatures(ctx context.Context, o Options) (Report, error) {
	need := kernel.Need{CgroupVersion: o.Facts.CgroupVersion, Overlay: o.Overlay, ProxyMode: o.ProxyMode}
	results, err := kernel.Probe(ctx, kernel.Features(need), o.LoadModules)
	if err != nil {
		return nil, err
	}
	var out Report
	for _, r := range results {
		out = append(out, feature(r))
	}
	return out, nil
}

func feature(r kernel.Result) Finding {
	f := Finding{What: "kernel: " + r.Name, Found: r.How, NeededFor: r.NeededFor}
	switch {
	case r.Err == nil:
		f.Status = OK
	case r.Untried():
		f.Status, f.Mend = Warn, "run as root"
	case r.Loadable && !r.Tried:
		f.Status = OK // the start loads it
	case r.Required:
		f.Status, f.Mend = Missing, r.Advice()
	default:
		f.Status, f.Mend = Warn, r.Advice()
	}
	return f
}
