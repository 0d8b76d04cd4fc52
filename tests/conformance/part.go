package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"kedge/tests/host"
)

// part is one run of the suite: the specs that may run side by side, or those that may not.
type part struct {
	name   string
	labels string // a filter over ginkgo's labels
	focus  string // a regular expression over full names; empty: all
	skip   string // the same, for what is left out
	procs  int
	rest   time.Duration
}

// parts are run in this order. [Disruptive] is a kind of [Serial].
func parts(o options) []part {
	all := []part{
		{name: "parallel", labels: "Conformance && !Serial", focus: o.focus, procs: o.procs, rest: o.rest},
		{name: "serial", labels: "Conformance && Serial", focus: o.focus, procs: 1},
	}
	if o.selection {
		all[0].skip, all[1].focus = slow(), quickSerial()
	}
	return slices.DeleteFunc(all, func(p part) bool { return o.part != "" && p.name != o.part })
}

// run runs the suite against the cluster, prints its report, and returns how many specs ran. Its error says that specs failed, or why
// they did not run.
func (p part) run(ctx context.Context, o options, c *cluster) (int, error) {
	dir, err := makeDir(filepath.Join(o.out, p.name))
	if err != nil {
		return 0, err
	}
	w, err := c.watch(ctx, dir)
	if err != nil {
		return 0, err
	}
	code, ran := p.ginkgo(ctx, o, c, dir)
	usage, watched := w.end(ctx, p.rest)
	r, err := readReport(filepath.Join(dir, "report.json"))
	if err != nil {
		return 0, errors.Join(ran, watched, fmt.Errorf("%w; ginkgo ended with status %d, see %s", err, code, filepath.Join(dir, "log.txt")))
	}
	if r.total() == 0 {
		return 0, errors.Join(ran, watched) // nothing of the focus is in this part
	}
	fmt.Printf("\n## %s, %d at a time\n\n%s\n%s\n", p.name, p.procs, r, usage)
	if failed := r.of(failedState); len(failed) > 0 {
		ran = errors.Join(ran, fmt.Errorf("%d of %d specs failed, see %s", len(failed), r.total(), filepath.Join(dir, "log.txt")))
	} else if code != 0 && ran == nil {
		ran = fmt.Errorf("ginkgo ended with status %d, see %s", code, filepath.Join(dir, "log.txt"))
	}
	return r.total(), errors.Join(ran, watched)
}

// makeDir makes a new directory, numbered when the name is taken by an earlier repetition.
func makeDir(name string) (string, error) {
	for i := 1; ; i++ {
		dir := name
		if i > 1 {
			dir += "-" + strconv.Itoa(i)
		}
		err := os.Mkdir(dir, 0o755)
		if err == nil || !os.IsExist(err) {
			return dir, err
		}
	}
}

// ginkgo runs the suite from the switch, which reaches the nodes as a user outside the cluster does.
func (p part) ginkgo(ctx context.Context, o options, c *cluster, dir string) (int, error) {
	log, err := os.Create(filepath.Join(dir, "log.txt"))
	if err != nil {
		return -1, fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	args := []string{
		o.ginkgo(), "run", "--procs=" + strconv.Itoa(p.procs), "--no-color", "--silence-skips", "--timeout=3h", "--keep-going",
		"--label-filter=" + p.labels, "--json-report=report.json", "--output-dir=" + dir,
	}
	if p.focus != "" {
		args = append(args, "--focus="+p.focus)
	}
	if p.skip != "" {
		args = append(args, "--skip="+p.skip)
	}
	args = append(args, o.e2e(), "--",
		"--kubeconfig="+c.kubeconfig(), "--kubectl-path="+c.kubectl, "--provider=skeleton", "--node-os-distro=custom", "--allowed-not-ready-nodes=0",
		"--dump-logs-on-failure=false", "--disable-log-dump", "--report-dir="+dir)
	if c.lab == nil {
		return runHere(ctx, args, dir, log)
	}
	proc, err := c.lab.Switch.Start(host.Spec{Args: args, Dir: dir, Stdout: log, Stderr: log})
	if err != nil {
		return -1, err
	}
	code, err := proc.Wait(ctx)
	if err != nil {
		return code, errors.Join(err, proc.Signal(os.Interrupt))
	}
	return code, nil
}

// runHere runs the suite where this program runs, for a cluster that was there before.
func runHere(ctx context.Context, args []string, dir string, log *os.File) (int, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(os.Interrupt) }, time.Minute
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return -1, fmt.Errorf("run the suite: %w", err)
	}
	return cmd.ProcessState.ExitCode(), nil
}
