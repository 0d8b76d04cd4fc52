package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
)

// Spec says what to start. The environment is PATH and HOME plus Env; nothing of the test's own is inherited.
type Spec struct {
	Args   []string  // required; Args[0] is searched for on the host's PATH
	Env    []string  // optional, KEY=VALUE
	Dir    string    // optional, "/" otherwise
	User   uint32    // optional user and group id, root otherwise
	Stdin  io.Reader // optional
	Stdout io.Writer // optional; give an *os.File when the process leaves children that keep it open
	Stderr io.Writer // optional
}

// Result is the outcome of a process that ended.
type Result struct {
	Stdout, Stderr string
	Code           int   // exit status, -1 when it was killed or did not start
	Err            error // set when it did not start or was killed; an exit status other than 0 is not an error
}

// Check returns an error that shows what was printed unless the process ended with status 0.
func (r Result) Check() error {
	if r.Err == nil && r.Code == 0 {
		return nil
	}
	return fmt.Errorf("exit status %d (%v)\nstdout: %s\nstderr: %s", r.Code, r.Err, tail(r.Stdout), tail(r.Stderr)) //nolint:errorlint // often there is none
}

func tail(s string) string {
	const most = 4000
	s = strings.TrimSpace(s)
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

// Process is a running process of a host or of the switch.
type Process struct {
	cmd  *exec.Cmd
	args []string
	done chan struct{}
	err  error // of Wait, valid after done
}

// Pid is the process id as the machine sees it.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the process.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Wait waits for the end of the process and returns its exit status, or -1 when a signal ended it.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return -1, fmt.Errorf("wait for %s: %w", p.args[0], ctx.Err())
	}
}

func (p *place) run(ctx context.Context, s Spec) Result {
	var stdout, stderr bytes.Buffer
	if s.Stdout == nil {
		s.Stdout = &stdout
	}
	if s.Stderr == nil {
		s.Stderr = &stderr
	}
	proc, err := p.start(ctx, s)
	if err != nil {
		return Result{Code: -1, Err: err}
	}
	<-proc.done
	r := Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: proc.cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if proc.err != nil && (r.Code < 0 || !errors.As(proc.err, &exit)) {
		r.Err = errors.Join(proc.err, ctx.Err())
	}
	return r
}

func (p *place) listen(network, address string) (l net.Listener, err error) {
	err = p.inNet(func() error {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

func (p *place) listenPacket(network, address string) (c net.PacketConn, err error) {
	err = p.inNet(func() error {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}

// dial opens a connection to an address that must be numeric: names are looked up on other threads.
func (p *place) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = p.inNet(func() error {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}
