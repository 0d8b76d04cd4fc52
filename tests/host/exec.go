package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The files that a process on its way into a host has open.
const (
	fdErrand = 3 // an errand in JSON
	fdInit   = 4 // pidfd of the host's PID 1
	fdFailed = 5 // why it did not get there; closed by exec
)

// errand is what a process on its way into a host is told. Its environment is already that of the program.
type errand struct {
	Cgroups []string
	Args    []string
	Dir     string
	User    uint32
}

// execMain enters a host's cgroups, which only a whole process can do, then its namespaces, and becomes the program.
// It is already in the host's PID namespace.
func execMain() int {
	runtime.LockOSThread() // until exec makes this thread the process, its namespaces are its own
	for _, fd := range []int{fdErrand, fdInit, fdFailed} {
		unix.CloseOnExec(fd)
	}
	var e errand
	err := json.NewDecoder(os.NewFile(fdErrand, "errand")).Decode(&e)
	if err == nil {
		err = e.run()
	}
	fmt.Fprint(os.NewFile(fdFailed, "failed"), err)
	return 127
}

// run returns only when it fails.
func (e errand) run() error {
	for _, dir := range e.Cgroups {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
	}
	// A thread may change its mount namespace only when it does not share its root with others.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare file system attributes: %w", err)
	}
	const all = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP
	if err := unix.Setns(fdInit, all); err != nil {
		return fmt.Errorf("enter namespaces: %w", err)
	}
	if err := os.Chdir(e.Dir); err != nil {
		return fmt.Errorf("change directory: %w", err)
	}
	program, err := exec.LookPath(e.Args[0])
	if err != nil {
		return err
	}
	if err := e.becomeUser(); err != nil {
		return err
	}
	return &os.PathError{Op: "exec", Path: program, Err: syscall.Exec(program, e.Args, os.Environ())}
}

func (e errand) becomeUser() error {
	if e.User == 0 {
		return nil
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("drop groups: %w", err)
	}
	if err := syscall.Setgid(int(e.User)); err != nil {
		return fmt.Errorf("set group: %w", err)
	}
	if err := syscall.Setuid(int(e.User)); err != nil {
		return fmt.Errorf("set user: %w", err)
	}
	return nil
}

// start sends a process into the place and returns when the program runs there.
func (p *place) start(ctx context.Context, s Spec) (*Process, error) {
	proc, err := p.send(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", strings.Join(s.Args, " "), err)
	}
	return proc, nil
}

func (p *place) send(ctx context.Context, s Spec) (*Process, error) {
	in, tell, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer in.Close()
	defer tell.Close()
	failed, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer failed.Close()
	proc := &Process{cmd: p.command(ctx, s, in, out), args: s.Args, done: make(chan struct{})}
	err = p.inPIDs(proc.cmd.Start)
	out.Close()
	if err != nil {
		return nil, err
	}
	go func() {
		proc.err = proc.cmd.Wait()
		close(proc.done)
	}()
	e := errand{Cgroups: p.cgroups, Args: s.Args, Dir: s.Dir, User: s.User}
	if e.Dir == "" {
		e.Dir = "/"
	}
	if err := json.NewEncoder(tell).Encode(e); err != nil {
		return nil, fmt.Errorf("tell the process what to run: %w", err)
	}
	why, err := io.ReadAll(failed)
	if err != nil || len(why) > 0 {
		<-proc.done
		return nil, errors.Join(errors.New(string(why)), err)
	}
	return proc, nil
}

func (p *place) command(ctx context.Context, s Spec, in, out *os.File) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{argExec}
	cmd.Env = append([]string{"PATH=" + path, "HOME=" + p.home, "LANG=C.UTF-8"}, s.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.Stdin, s.Stdout, s.Stderr
	cmd.ExtraFiles = []*os.File{in, p.init, out}
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}
