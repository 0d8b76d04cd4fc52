// Command suite makes the upstream Kubernetes e2e suite and the images that its conformance specs run, from Go modules
// and Debian packages alone: no registry, no container engine, nothing that was built elsewhere.
//
//	suite -o DIRECTORY             make e2e.test, ginkgo and images.tar in DIRECTORY, or as much of them as changed
//	suite serve ADDRESS ARCHIVE    serve images.tar as a read-only registry at ADDRESS (host:port), for pods that
//	                               always pull; package registry does the same inside another program
//
// It runs anywhere below the top directory of the checkout, after scripts/build, which makes the pause program. The
// suite itself is unmodified. The images are equivalents of upstream's under upstream's names: they hold what the
// specs use, and have other digests. What makes the files is recorded beside them, so that a second run does nothing;
// remove the directory to take newer Debian packages.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

var errUsage = errors.New("usage: suite -o DIRECTORY | suite serve ADDRESS ARCHIVE")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(1) //nolint:gocritic // nothing but the signals is left to undo
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == "serve" {
		if len(args) != 3 {
			return errUsage
		}
		return serve(ctx, args[1], args[2], out)
	}
	flags := flag.NewFlagSet("suite", flag.ContinueOnError)
	dir := flags.String("o", "", "directory to fill")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("read arguments: %w", err)
	}
	if *dir == "" || flags.NArg() > 0 {
		return errUsage
	}
	path, err := filepath.Abs(*dir)
	if err != nil {
		return fmt.Errorf("find directory: %w", err)
	}
	return build(ctx, path, out)
}

// build makes everything in dir whose inputs changed since it was made.
func build(ctx context.Context, dir string, out io.Writer) error {
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	module, err := findModule(ctx)
	if err != nil {
		return err
	}
	suite, err := module.suiteStamp(dir)
	if err != nil {
		return err
	}
	if err := suite.refresh(out, func() error { return module.buildSuite(ctx, dir) }); err != nil {
		return err
	}
	images, err := module.imagesStamp(dir)
	if err != nil {
		return err
	}
	return images.refresh(out, func() error {
		if err := module.buildPrograms(ctx, filepath.Join(dir, "bin")); err != nil {
			return err
		}
		return writeImages(ctx, module, dir, out)
	})
}
