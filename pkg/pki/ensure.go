package pki

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// syncWorkers bounds the files that are synced at once.
const syncWorkers = 8

// Options say which certificates are wanted and where.
type Options struct {
	ServerDir string       // required: the authorities and the server's leaves; must not be a mount point itself
	AgentDir  string       // the node's leaves; empty: no leaf with Node set is wanted
	Leaves    []Leaf       // required: the table
	Log       *slog.Logger // required

	Clock     func() time.Time // optional: time.Now
	Earliest  time.Time        // optional: a clock that shows less is wrong, such as the date of the executable
	Lifetimes Lifetimes        // optional: DefaultLifetimes

	disk disk // for tests
}

// withDefaults returns o with the optional values filled in.
func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Lifetimes == (Lifetimes{}) {
		o.Lifetimes = DefaultLifetimes()
	}
	if o.disk.workers == 0 {
		o.disk.workers = syncWorkers
	}
	if o.AgentDir == "" {
		o.Leaves = slices.DeleteFunc(slices.Clone(o.Leaves), func(l Leaf) bool { return l.Node })
	}
	return o
}

// Ensure brings the files of a cluster's server to the state that the options describe: what is missing is made,
// what is there is checked, leaves that are not as the table wants them are issued anew. It is to be called by the
// holder of the data directory's lock, before anything reads the files. An error about an authority, the service
// account key or the clock leaves everything as it was.
func Ensure(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	now := o.Clock()
	if now.Before(o.Earliest) {
		o.Log.Warn("the clock of this machine is behind: set it; certificates are issued to be valid before and after",
			"clock", stamp(now), "atLeast", stamp(o.Earliest))
	}
	dir, err := resolve(o.ServerDir)
	if err != nil {
		return nil, err
	}
	found, err := findAuthorities(dir)
	if err != nil {
		return nil, err
	}
	if !found {
		if err := o.disk.createAuthorities(ctx, dir, o.Lifetimes.from(now, o.Earliest, o.Lifetimes.Authority)); err != nil {
			return nil, err
		}
	}
	authorities, err := loadAuthorities(o.ServerDir, now)
	if err != nil {
		return nil, err
	}
	s := newStore(o, authorities)
	if !found {
		s.log.Info("created the certificate authorities", "dir", o.ServerDir, "root", s.RootFingerprint())
	}
	for _, dir := range s.dirs() {
		if err := errors.Join(o.disk.makeDir(dir), o.disk.sweep(dir)); err != nil {
			return nil, err
		}
	}
	return s, s.ensureFiles(ctx, now)
}

// ensureFiles writes the trust files and all leaves that are not as wanted.
func (s *Store) ensureFiles(ctx context.Context, now time.Time) error {
	bundle := s.bundle()
	var trust []file
	if s.serverDir != "" {
		trust = append(trust, file{path: s.BundleFile(), data: bundle})
	}
	if s.agentDir != "" {
		trust = append(trust, file{path: s.NodeBundleFile(), data: bundle},
			file{path: s.NodeCAFile(), data: encodeCertificates(s.authorities[Kubernetes].cert)})
	}
	all := []change{{files: trust}}
	for _, l := range s.leaves {
		c, err := s.plan(ctx, l, now)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	return s.apply(ctx, now, all...)
}

// resolve follows a directory that is a symbolic link, so that it can be renamed into place.
func resolve(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return dir, nil
	}
	if err != nil {
		return "", fmt.Errorf("look for certificate authorities: %w", err)
	}
	return real, nil
}

// differs tells whether f has to be written.
func (f file) differs() (bool, error) {
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("check file: %w", err)
	}
	if info.Mode().Perm() != f.permissions() {
		return true, nil
	}
	data, err := os.ReadFile(f.path)
	if err != nil {
		return false, fmt.Errorf("check file: %w", err)
	}
	return string(data) != string(f.data), nil
}
