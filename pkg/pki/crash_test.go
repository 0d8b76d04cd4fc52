package pki

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
			o := prepare(t, options(t))
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

// TestKill kills a process that does the first creation, at moments spread over the time that it takes.
func TestKill(t *testing.T) {
	if dir := os.Getenv("KEDGE_TEST_PKI_DIR"); dir != "" {
		o := options(t)
		o.ServerDir, o.AgentDir = filepath.Join(dir, "server", "tls"), filepath.Join(dir, "agent", "tls")
		ensure(t, o)
		return
	}
	o := options(t)
	for i := range 40 {
		if i%8 == 0 { // a new cluster; the other rounds go on with what the killed ones left
			if err := os.RemoveAll(dataDir(o)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKill$") // killed when ctx ends
		cmd.Env = append(os.Environ(), "KEDGE_TEST_PKI_DIR="+dataDir(o))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		killAt(t, filepath.Dir(o.ServerDir), o.ServerDir, i%8, cancel)
		_ = cmd.Wait()
		cancel()
		if i%8 == 7 {
			healthy(t, ensure(t, o))
		}
	}
}

// killAt calls kill when the creation has come as far as the round asks for, or after a second.
func killAt(t *testing.T, server, tls string, round int, kill func()) {
	t.Helper()
	limit := time.After(time.Second)
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for {
		select {
		case <-limit:
			kill()
			return
		case <-tick.C:
		}
		staged, _ := filepath.Glob(filepath.Join(server, "tls.new", "*"))
		placed, _ := filepath.Glob(filepath.Join(tls, "*"))
		if len(staged) > 2*round || len(placed) > 10+3*(round-4) && len(placed) > 0 {
			kill()
			return
		}
	}
}
