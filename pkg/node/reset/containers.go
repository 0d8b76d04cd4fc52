package reset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"kedge/pkg/node/machine"
)

// shimGrace is what a shim gets to end by itself once its containers are gone.
const shimGrace = time.Second

// endContainers ends the containers' processes, then the shims, then removes the cgroups.
func (o Options) endContainers(ctx context.Context, f machine.Facts, inv inventory) error {
	errs := []error{o.endProcesses(inv)}
	own := shims(o.Layout)
	handles, err := open(own, func(pid int) bool { return slices.Contains(shims(o.Layout), pid) })
	errs = append(errs, err, terminate(handles, handles, shimGrace, o.Log))
	closeAll(handles)
	pods := inv.own(podCgroups(inv.roots), nil)
	if f.CgroupDriver == machine.DriverSystemd {
		errs = append(errs, stopSlices(ctx, pods))
	}
	for _, p := range pods {
		errs = append(errs, removeCgroup(p.dir))
	}
	removeEmpty(inv.roots)
	if len(handles) > 0 || len(pods) > 0 {
		o.Log.Info("containers ended", "shims", len(handles), "cgroups", len(pods))
	}
	return errors.Join(errs...)
}

// endProcesses ends everything in the containers. Only the first process of each is asked to end, as at the end of a
// pod; with it the kernel ends the others of its PID namespace. A container may start processes meanwhile, so that it
// takes rounds.
func (o Options) endProcesses(inv inventory) error {
	const rounds = 5
	var errs []error
	grace := o.Grace
	for range rounds {
		victims := o.containerProcesses(inv)
		if len(victims) == 0 {
			return errors.Join(errs...)
		}
		if slices.Contains(victims, os.Getpid()) {
			return errors.New("end containers: reset runs inside a container of this node; run it on the host")
		}
		all, err := open(victims, func(pid int) bool { return slices.Contains(o.containerProcesses(inv), pid) })
		parent := parents()
		first := slices.DeleteFunc(slices.Clone(all), func(h handle) bool { return slices.Contains(victims, parent[h.pid]) })
		errs = append(errs, err, terminate(all, first, grace, o.Log))
		closeAll(all)
		grace = 0
	}
	if left := o.containerProcesses(inv); len(left) > 0 {
		errs = append(errs, fmt.Errorf("end containers: processes %v are still there", left))
	}
	return errors.Join(errs...)
}

// containerProcesses returns the processes below our shims and those in cgroups of our pods.
func (o Options) containerProcesses(inv inventory) []int {
	out := descendants(shims(o.Layout), parents())
	for _, p := range inv.own(podCgroups(inv.roots), out) {
		thaw(p.dir)
		out = append(out, members(p.dir)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
