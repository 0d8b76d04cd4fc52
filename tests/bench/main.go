// Command bench measures kedge on hosts made for the purpose, in turn with the same Kubernetes as separate upstream
// programs if there is a tool that runs them, and prints the medians as a table in Markdown.
//
// The other side's tool is given with -stock. It understands `up I` (prints api_ready_s, node_ready_s and usable_s) and
// `measure I SECONDS` (prints rss_mb, anon_mb, idle_cpu_pct and idle_write_kBps), and has a tool for hosts beside it in
// ../lab/lab with `up N`, `kill I`, `boot I` and `down`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"kedge/tests/host"
)

// options are what the command line says.
type options struct {
	kedge   string
	stock   string // empty: measure kedge alone
	kubectl string // empty: kedge's own
	rounds  int
	settle  time.Duration
	idle    time.Duration
}

func main() {
	host.Main()
	var o options
	flag.StringVar(&o.kedge, "kedge", "bin/kedge", "the executable to measure")
	flag.StringVar(&o.stock, "stock", "", "tool that runs the upstream programs")
	flag.StringVar(&o.kubectl, "kubectl", "", "kubectl that asks both sides, kedge's own otherwise")
	flag.IntVar(&o.rounds, "n", 5, "rounds, of which the median is shown")
	flag.DurationVar(&o.settle, "settle", 60*time.Second, "time to come to rest before the idle measurement")
	flag.DurationVar(&o.idle, "idle", 60*time.Second, "length of the idle measurement")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if os.Getuid() != 0 {
		return fmt.Errorf("needs root to make hosts")
	}
	ours, theirs := samples{}, samples{}
	for round := range o.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.rounds)
		s, err := measureKedge(ctx, o)
		if err != nil {
			return fmt.Errorf("measure kedge: %w", err)
		}
		ours.add(s)
		if o.stock == "" {
			continue
		}
		if s, err = measureStock(ctx, o); err != nil {
			return fmt.Errorf("measure the upstream programs: %w", err)
		}
		theirs.add(s)
	}
	return report(os.Stdout, o, ours, theirs)
}
