package reset

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kedge/pkg/config"
	"kedge/pkg/node/lock"
	"kedge/pkg/node/machine"
)

func TestRefusesWhileKedgeRuns(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	o := options(t, t.TempDir())
	file := touch(t, o.Layout.BinDir(), "runc")
	held, err := lock.Acquire(o.Layout.Lock(), "kedge server")
	if err != nil {
		t.Fatal(err)
	}
	err = Run(t.Context(), o)
	var busy *lock.HeldError
	if !errors.As(err, &busy) || !strings.Contains(err.Error(), "(kedge server)") {
		t.Errorf("got %v", err)
	}
	wantFile(t, file)
	if err := held.Release(); err != nil {
		t.Error(err)
	}
}

func TestNothingToReset(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	base := t.TempDir()
	o := options(t, base)
	touch(t, o.Kubeconfig)
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got := names(base); !slices.Equal(got, []string{"etc"}) {
		t.Errorf("made %v", got)
	}
	wantFile(t, o.Kubeconfig)
}

func TestRemovesLogsOfOwnPodsOnly(t *testing.T) {
	o := options(t, t.TempDir()).withDefaults()
	own := touch(t, o.PodLogs, "default_web_1111", "c", "0.log")
	other := touch(t, o.PodLogs, "default_web_2222", "c", "0.log")
	mkdir(t, o.ContainerLogs)
	for name, target := range map[string]string{"own.log": own, "other.log": other, "foreign.log": "/nowhere/x", "data.log": o.Layout.DataDir + "/agent/logs/x"} {
		if err := os.Symlink(target, filepath.Join(o.ContainerLogs, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.removeLogs(inventory{pods: map[string]bool{"1111": true}}); err != nil {
		t.Fatal(err)
	}
	wantFile(t, other)
	if d := cmp.Diff([]string{"default_web_2222"}, names(o.PodLogs)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"foreign.log", "other.log"}, names(o.ContainerLogs)); d != "" {
		t.Error(d)
	}
}

// The kubelet's directory of a machine on which kedge has never had a node is another's.
func TestKeepsAnothersKubelet(t *testing.T) {
	base := t.TempDir()
	o := options(t, base).withDefaults()
	o.Layout = config.Layout{DataDir: base + "/data", RunDir: base + "/run", KubeletDir: base + "/kubelet"}
	file := touch(t, o.Layout.KubeletDir, "config.yaml")
	touch(t, o.Layout.Lock())
	if err := o.run(t.Context(), machine.Facts{}); err != nil {
		t.Fatal(err)
	}
	wantFile(t, file)
	wantGone(t, o.Layout.DataDir)
}

// After a failure everything else is done, all is reported, and the next run still knows that there is a node.
func TestGoesOnAfterFailure(t *testing.T) {
	base := t.TempDir()
	o := options(t, base).withDefaults()
	o.Layout = config.Layout{DataDir: base + "/data", RunDir: base + "/run", KubeletDir: base + "/kubelet"}
	touch(t, o.Layout.BinDir(), "runc")
	touch(t, o.Layout.KubeletDir, "pods", "1", "x")
	touch(t, o.RuncRoot, "c1", "state.json")
	touch(t, o.RuncRoot, "c2", "state.json")
	mkdir(t, o.Layout.ContainerdState(), "io.containerd.runtime.v2.task", "k8s.io", "c1")
	touch(t, o.Kubeconfig)
	o.Network = func(context.Context) error { return errors.New("table is busy") }
	err := o.run(t.Context(), machine.Facts{})
	if err == nil || err.Error() != "remove pod network: table is busy" {
		t.Errorf("got %v", err)
	}
	wantGone(t, o.Kubeconfig)
	wantGone(t, o.Layout.KubeletDir)
	wantGone(t, o.Layout.RunDir)
	wantFile(t, filepath.Join(o.RuncRoot, "c2", "state.json"))
	wantGone(t, filepath.Join(o.RuncRoot, "c1"))
	called := false
	o.Network = func(context.Context) error { called = true; return nil }
	if err := o.run(t.Context(), machine.Facts{}); err != nil || !called {
		t.Errorf("second run: %v, network removed: %v", err, called)
	}
	wantGone(t, o.Layout.DataDir)
}
