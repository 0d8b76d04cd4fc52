package pki

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var errCrash = errors.New("crash")

// crashAfter lets the given number of changes happen, spoils the next one halfway, and then allows none.
func crashAfter(steps int) func(op, path string) error {
	return func(op, path string) error {
		if steps--; steps >= 0 {
			return nil
		}
		if steps == -1 && op == "write" {
			_ = os.WriteFile(path, []byte("-----BEGIN CERTI"), 0o600)
		}
		return errCrash
	}
}

// crashes calls check with the state after a crash at each change that Ensure makes from a state that prepare makes.
func crashes(t *testing.T, prepare func(t *testing.T, o Options) Options, check func(t *testing.T, o Options)) {
	t.Helper()
	const bound = 1000
	for n := range bound {
		done := false
		t.Run(fmt.Sprintf("after %d", n), func(t *testing.T) {
			o := options(t)
			o.Leaves = slices.DeleteFunc(o.Leaves, func(l Leaf) bool { // enough to have all kinds of files
				return !slices.Contains([]string{APIServer, Admin, Scheduler, KubeletClient}, l.Name)
			})
			o = prepare(t, o)
			crashing := o
			crashing.disk = disk{workers: 1, before: crashAfter(n)}
			_, err := Ensure(t.Context(), crashing)
			if err != nil && !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			done = err == nil
			check(t, o)
		})
		if done || t.Failed() {
			return
		}
	}
	t.Errorf("not done after %d changes", bound)
}

func TestCrashDuringTheFirstCreation(t *testing.T) {
	fresh := func(_ *testing.T, o Options) Options { return o }
	crashes(t, fresh, func(t *testing.T, o Options) {
		t.Helper()
		before, _ := os.ReadFile(filepath.Join(o.ServerDir, "root.crt"))
		s := ensure(t, o)
		healthy(t, s)
		after, err := os.ReadFile(s.CAFile(Root))
		if err != nil {
			t.Fatal(err)
		}
		if before != nil { // once it can be seen it is final
			equal(t, string(after), string(before))
		}
	})
}

func TestCrashDuringRenewalAndRepair(t *testing.T) {
	old := map[string]string{}
	prepare := func(t *testing.T, o Options) Options {
		t.Helper()
		s := ensure(t, o)
		spoil(t, s.KeyFile(Scheduler), "")
		spoil(t, s.CertFile(Admin), "no certificate")
		later := noon.Add(300 * 24 * time.Hour) // all leaves are due
		o.Clock = func() time.Time { return later }
		old = tree(t, o)
		return o
	}
	crashes(t, prepare, func(t *testing.T, o Options) {
		t.Helper()
		s := ensure(t, o)
		healthy(t, s)
		now := tree(t, o)
		for _, name := range append(authorityFiles(), "apiserver.key", "admin.key") {
			equal(t, now["server/tls/"+name], old["server/tls/"+name])
		}
		if next := leafOf(t, s, APIServer).NotAfter; !next.Equal(noon.Add(665 * 24 * time.Hour)) {
			t.Errorf("the leaf expires %s", next)
		}
	})
}

func TestNothingIsWrittenTwice(t *testing.T) {
	o := options(t)
	ensure(t, o)
	before := tree(t, o)
	o.disk.workers = 1
	o.disk.before = func(op, path string) error {
		if op != "mkdir" { // which only makes sure
			t.Errorf("%s %s", op, path)
		}
		return nil
	}
	ensure(t, o)
	if diff := cmp.Diff(before, tree(t, o)); diff != "" {
		t.Error(diff)
	}
}
