// Command conformance runs the unmodified end-to-end suite of Kubernetes against a kedge cluster of a server and an
// agent, each in a host of tests/host, and reports what passed, what failed, what was slow, and what the two kedge
// processes used meanwhile.
//
// The suite is a directory with e2e.test, ginkgo and images.tar (see tests/conformance/suite); scripts/test conformance
// makes it and calls this program. README.md beside this file says what the result is.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"kedge/tests/host"
)

// options are what the command line says.
type options struct {
	kedge     string
	suite     string
	out       string
	focus     string // regular expression over the specs' full names; empty: all
	selection bool   // the selection of CI
	part      string // "parallel" or "serial"; empty: both
	procs     int    // workers that run specs side by side
	repeat    int
	rest      time.Duration // after the parallel part, before the last reading of usage
	proxy     string        // --proxy-mode of both nodes
	existing  string        // kubeconfig of the cluster to test; empty: make one
}

func main() {
	host.Main()
	var o options
	flag.StringVar(&o.kedge, "kedge", "bin/kedge", "the executable to test")
	flag.StringVar(&o.suite, "suite", "build/conformance", "directory with e2e.test, ginkgo and images.tar")
	flag.StringVar(&o.out, "out", "", "directory for logs, reports and profiles (default SUITE/results/TIME)")
	flag.StringVar(&o.focus, "focus", "", "run the conformance specs whose full name matches this regular expression; all of them when empty")
	flag.BoolVar(&o.selection, "selection", false, "run the selection that CI runs")
	flag.StringVar(&o.part, "part", "", "run only the part named parallel or serial")
	flag.IntVar(&o.procs, "procs", 8, "workers of the parallel part")
	flag.IntVar(&o.repeat, "repeat", 1, "run what was chosen so many times, on one cluster")
	flag.DurationVar(&o.rest, "rest", 0, "wait so long after the parallel part before usage is read again")
	flag.StringVar(&o.proxy, "proxy-mode", "auto", "as of kedge")
	flag.StringVar(&o.existing, "kubeconfig", "", "test the cluster of this kubeconfig, whose nodes have the images, instead of one made for the test")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if os.Getuid() != 0 && o.existing == "" {
		return fmt.Errorf("needs root to make hosts")
	}
	if err := o.complete(); err != nil {
		return err
	}
	c, err := openCluster(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	var failed error
	total := 0
	for range o.repeat {
		for _, p := range parts(o) {
			n, err := p.run(ctx, o, c)
			total += n
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s part: %w", p.name, err))
			}
			if ctx.Err() != nil {
				return fmt.Errorf("interrupted: %w", context.Cause(ctx))
			}
		}
	}
	if total == 0 && failed == nil {
		return fmt.Errorf("no conformance spec matches %q: see the names in the suite's list, %s --ginkgo.label-filter=Conformance --ginkgo.dry-run -ginkgo.v", o.focus, o.e2e())
	}
	return failed
}

// complete checks the options and makes their paths absolute, so that they hold inside hosts too.
func (o *options) complete() error {
	if o.out == "" {
		o.out = filepath.Join(o.suite, "results", time.Now().UTC().Format("20060102-150405"))
	}
	var errs []error
	paths := []*string{&o.kedge, &o.suite, &o.out}
	if o.existing != "" {
		paths = append(paths, &o.existing)
	}
	for _, path := range paths {
		abs, err := filepath.Abs(*path)
		errs = append(errs, err)
		*path = abs
	}
	for _, file := range []string{o.kedge, o.e2e(), o.ginkgo(), o.images()} {
		if _, err := os.Stat(file); err != nil {
			errs = append(errs, fmt.Errorf("%w (scripts/test conformance makes it)", err))
		}
	}
	if _, err := regexp.Compile(o.focus); err != nil {
		errs = append(errs, fmt.Errorf("parse -focus: %w", err))
	}
	if o.focus != "" && o.selection {
		errs = append(errs, fmt.Errorf("-focus and -selection exclude each other"))
	}
	if !slices.Contains([]string{"", "parallel", "serial"}, o.part) {
		errs = append(errs, fmt.Errorf("-part is %q, must be parallel or serial", o.part))
	}
	if flag.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unknown arguments %q, see -help", flag.Args()))
	}
	errs = append(errs, os.MkdirAll(o.out, 0o755))
	return errors.Join(errs...)
}

func (o options) e2e() string    { return filepath.Join(o.suite, "e2e.test") }
func (o options) ginkgo() string { return filepath.Join(o.suite, "ginkgo") }
func (o options) images() string { return filepath.Join(o.suite, "images.tar") }
