package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	suiteLimit = 2 * time.Hour
	suiteFocus = `\[sig-network\]`
)

// TestConformance runs the conformance specs of SIG Network, or those that KEDGE_SUITE_FOCUS matches, against a node in the
// machine whose services are served by IPVS. The suite, built in the directory KEDGE_SUITE, runs outside of the machine.
func TestConformance(t *testing.T) {
	bin, suite, focus := os.Getenv("KEDGE_BIN"), os.Getenv("KEDGE_SUITE"), os.Getenv("KEDGE_SUITE_FOCUS")
	if bin == "" || suite == "" || os.Getuid() != 0 {
		t.Skip("needs root, KEDGE_BIN and KEDGE_SUITE, a directory made by tests/conformance/suite")
	}
	needTools(t)
	if focus == "" {
		focus = suiteFocus
	}
	out := filepath.Join(suite, "results", "ipvs-"+time.Now().UTC().Format("20060102-150405"))
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := conduct{address: freePort(t), config: filepath.Join(dir, "kubeconfig.yaml"), args: []string{
		runner(t, dir), "-kubeconfig", filepath.Join(dir, "kubeconfig.yaml"), "-kedge", bin, "-suite", suite, "-out", out, "-focus", focus, "-procs", "2",
	}}
	socket := filepath.Join(dir, "control")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), suiteLimit)
	defer cancel()
	args := bootArgs(t, dir, map[string]string{
		"bin/kedge": bin, "var/lib/kedge/images/e2e.tar": filepath.Join(suite, "images.tar"), "test/run.sh": "testdata/conformance.sh",
	}, "-m", "4096", "-rtc", "base=utc", "-netdev", "user,id=net,restrict=on,hostfwd=tcp:"+c.address+"-10.0.2.15:6443",
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=control,path="+socket, "-device", "virtserialport,chardev=control,name=control,nr=1",
		"-chardev", "file,id=log,path="+filepath.Join(out, "kedge.log"), "-device", "virtserialport,chardev=log,name=log,nr=2")
	conducted := make(chan error, 1)
	go func() { conducted <- c.run(ctx, l) }()
	found := boot(ctx, t, append(args, parallel()...))
	l.Close()
	if err := <-conducted; err != nil {
		t.Errorf("%v; see %s", err, out)
	}
	for key, want := range map[string]string{"answer": "stop", "proxy": "ipvs", "stop": "0", "panics": "0", "end": "0"} {
		if found[key] != want {
			t.Errorf("%s is %q, want %q", key, found[key], want)
		}
	}
	t.Logf("node ready with images after %s s; kedge used %s s of processor time, %s of memory at most; the disk had %s MB; reports are in %s",
		found["ready_seconds"], found["cpu"], found["memory"], found["disk"], out)
}

// runner builds the program that runs the suite.
func runner(t *testing.T, dir string) string {
	t.Helper()
	binary := filepath.Join(dir, "conformance")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "kedge/tests/conformance")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the program that runs the suite: %v\n%s", err, out)
	}
	return binary
}

// freePort returns an address of this machine that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// conduct runs the suite as soon as the machine has a cluster.
type conduct struct {
	address string   // where QEMU listens for the API server
	config  string   // the kubeconfig to write
	args    []string // the program to run then
}

// run waits for the machine, runs the suite and tells the machine to stop. A machine that starts again connects again.
func (c conduct) run(ctx context.Context, l net.Listener) error {
	for {
		machine, err := l.Accept()
		if err != nil {
			return fmt.Errorf("wait for the machine: %w", err)
		}
		text, err := document(machine)
		if err != nil {
			machine.Close()
			continue
		}
		defer machine.Close()
		if err := os.WriteFile(c.config, []byte(strings.ReplaceAll(text, "127.0.0.1:6443", c.address)), 0o600); err != nil {
			return fmt.Errorf("write kubeconfig: %w", err)
		}
		cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(os.Interrupt) }, time.Minute
		ran := cmd.Run()
		_, err = fmt.Fprintln(machine, "stop")
		return errors.Join(ran, err)
	}
}

// document reads a YAML document to its end mark.
func document(machine net.Conn) (string, error) {
	var text strings.Builder
	lines := bufio.NewScanner(machine)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if line == "..." {
			return text.String(), nil
		}
		text.WriteString(line + "\n")
	}
	return "", errors.Join(errors.New("the machine ended before its cluster was ready"), lines.Err())
}
