package reset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"kedge/pkg/config"
	"kedge/pkg/cri"
	"kedge/pkg/node/machine"
)

// runcRoot is where runc keeps the state of containers, whichever containerd they belong to.
const runcRoot = "/run/containerd/runc/" + cri.Namespace

// removeLogs deletes the logs of this node's pods, and the links to them that lead nowhere then.
func (o Options) removeLogs(inv inventory) error {
	var errs []error
	for _, name := range names(o.PodLogs) {
		uid := name[strings.LastIndexByte(name, '_')+1:]
		if inv.pods[uid] {
			errs = append(errs, removeTree(filepath.Join(o.PodLogs, name)))
		}
	}
	for _, name := range names(o.ContainerLogs) {
		link := filepath.Join(o.ContainerLogs, name)
		target, err := os.Readlink(link)
		if err != nil || !machine.Below(target, o.PodLogs) && !machine.Below(target, o.Layout.DataDir) {
			continue
		}
		if _, err := os.Stat(link); errors.Is(err, os.ErrNotExist) || machine.Below(target, o.Layout.DataDir) {
			errs = append(errs, remove(link))
		}
	}
	return errors.Join(errs...)
}

// removeRuntimeState deletes what shims and runc keep outside of the node's directories.
func (o Options) removeRuntimeState(inv inventory) error {
	var errs []error
	for id := range inv.containers {
		errs = append(errs, removeTree(filepath.Join(o.RuncRoot, id)))
	}
	for dir := o.RuncRoot; dir != "/run" && dir != "/"; dir = filepath.Dir(dir) {
		if unix.Rmdir(dir) != nil { // not empty: somebody else's
			break
		}
	}
	sockets := cri.ShimSockets(o.Layout)
	errs = append(errs, removeTree(sockets))
	if parent := filepath.Dir(sockets); parent == config.DefaultRunDir {
		_ = unix.Rmdir(parent) // not empty: another node's
	}
	return errors.Join(errs...)
}

// removeDirectories deletes what is left of the node. The data directory comes last; after a failure a trace of it stays,
// from which the next reset knows that it has something to do.
func (o Options) removeDirectories(failed bool) error {
	errs := []error{emptied(o.Layout.KubeletDir, nil), emptied(o.Layout.RunDir, others(o.Layout))}
	failed = failed || errors.Join(errs...) != nil
	err := emptied(o.Layout.DataDir, nil)
	if failed || err != nil {
		errs = append(errs, os.MkdirAll(filepath.Join(o.Layout.DataDir, "agent"), 0o755))
	}
	return errors.Join(append(errs, err)...)
}

// emptied deletes a directory; of a symbolic link or a mount point the content only.
func emptied(path string, keep func(string) bool) error {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("resolve directory: %w", err)
	}
	if err := removeContent(real, keep); err != nil {
		return err
	}
	if real != path {
		return nil
	}
	err = unix.Rmdir(path)
	if err == nil || errors.Is(err, unix.EBUSY) || keep != nil && errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	return fmt.Errorf("remove directory %s: %w", path, err)
}

// others keeps the shims' sockets of nodes that have data directories of their own.
func others(l config.Layout) func(string) bool {
	if l.RunDir != config.DefaultRunDir {
		return nil
	}
	return func(name string) bool { return strings.HasPrefix(name, "s-") }
}

// remove deletes a file or a link; that it does not exist is no error.
func remove(path string) error {
	if err := unix.Unlink(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", path, err)
	}
	return nil
}
