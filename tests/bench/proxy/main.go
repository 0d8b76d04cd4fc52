package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// options are what the command line says.
type options struct {
	kubeProxy string
	subjects  string
	sizes     string
	rounds    int
	plan      plan
}

// plan is how one measurement goes.
type plan struct {
	Subject     string
	KubeProxy   string
	Services    int
	Changes     int
	Pause       time.Duration // between changes
	Connections int
	Verbose     bool
}

func main() {
	var o options
	var inside, as, server string
	flag.StringVar(&o.kubeProxy, "kube-proxy", "build/kube-proxy", "the upstream executable")
	flag.StringVar(&o.subjects, "subjects", "kedge-nftables,kube-proxy-nftables,kube-proxy-iptables", "what is measured: kedge- or kube-proxy- and a mode")
	flag.StringVar(&o.sizes, "services", "1000,5000,10000", "numbers of services, each with 5 endpoints")
	flag.IntVar(&o.rounds, "n", 1, "rounds, of which the median is shown")
	flag.IntVar(&o.plan.Changes, "changes", 50, "endpoint changes of each round")
	flag.DurationVar(&o.plan.Pause, "pause", 1200*time.Millisecond, "between changes: kube-proxy waits until a second has passed since the last")
	flag.IntVar(&o.plan.Connections, "connections", 2000, "connections of which the time to the first byte is taken")
	flag.BoolVar(&o.plan.Verbose, "v", false, "show what the proxies write")
	flag.StringVar(&inside, "inside", "", "internal: measure, in this network namespace, by this plan")
	flag.StringVar(&as, "as-proxy", "", "internal: be kedge's proxy in this mode")
	flag.StringVar(&server, "server", "", "internal: the API server of -as-proxy")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	var err error
	switch {
	case as != "":
		err = beProxy(ctx, as, server)
	case inside != "":
		err = measureInside(ctx, inside)
	default:
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "proxy:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if os.Getuid() != 0 {
		return errors.New("needs root to make network namespaces")
	}
	results := table{}
	for size := range strings.SplitSeq(o.sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return fmt.Errorf("read -services: %w", err)
		}
		for round := range o.rounds {
			for subject := range strings.SplitSeq(o.subjects, ",") {
				fmt.Fprintf(os.Stderr, "%d services, round %d of %d, %s\n", n, round+1, o.rounds, subject)
				p := o.plan
				p.Subject, p.KubeProxy, p.Services = subject, o.kubeProxy, n
				r, err := measure(ctx, p)
				if err != nil {
					return fmt.Errorf("measure %s with %d services: %w", subject, n, err)
				}
				results.add(subject, n, r)
			}
		}
	}
	return results.print(os.Stdout, o)
}

// measure runs the plan in a process of its own in a fresh network namespace.
func measure(ctx context.Context, p plan) (result, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("write plan: %w", err)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-inside", string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run in a network namespace: %w", err)
	}
	var r result
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	return r, nil
}
