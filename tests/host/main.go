package host

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	argSetup = "kedge-host-setup" // argv[0] of a host's first process until its namespaces are complete
	argExec  = "kedge-host-exec"  // argv[0] of a process on its way into a host
	argInit  = "kedge-host-init"  // argv[0] of a host's PID 1 from then on

	fdConfig = 3 // a JSON document, then silence; it closes when the owner of the host is gone
	fdReport = 4 // "ok", or why the host did not boot
)

// Main must be called first in TestMain or main of every program that makes hosts. It returns at once in the program
// itself and never in the processes that it becomes inside a host.
func Main() {
	switch os.Args[0] {
	case argSetup:
		os.Exit(setupMain())
	case argExec:
		os.Exit(execMain())
	case argInit:
		os.Exit(initMain())
	}
}

// setupMain completes the namespaces and then becomes PID 1 proper. The cgroup namespace belongs to one thread until
// exec makes that thread the process, which is why both run on the same locked thread.
func setupMain() int {
	runtime.LockOSThread()
	report := os.NewFile(fdReport, "report")
	var cfg bootConfig
	err := json.NewDecoder(os.NewFile(fdConfig, "config")).Decode(&cfg)
	if err == nil {
		err = setup(cfg)
	}
	if err == nil {
		err = syscall.Exec("/proc/self/exe", []string{argInit}, []string{"PATH=" + path})
	}
	fmt.Fprintf(report, "set up host: %v", err)
	return 1
}

// initMain is the life of PID 1: it reaps orphans until its owner is gone.
func initMain() int {
	unix.CloseOnExec(fdConfig)
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	report := os.NewFile(fdReport, "report")
	fmt.Fprint(report, "ok")
	report.Close()
	orphaned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(fdConfig, "config"))
		close(orphaned)
	}()
	for {
		select {
		case <-children:
			reap()
		case <-orphaned:
			return 0
		}
	}
}

func reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}
