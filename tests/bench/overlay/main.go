// Command overlay measures kedge's overlay beside VXLAN made by hand in the same kernel, between the same two hosts, in turn, and
// prints the medians, of ratios and differences those of the rounds', as a table in Markdown.
//
// A stream of TCP (cubic) and a ping-pong of small messages go from host to host through kedge's link with everything that kedge
// adds to it, and through a plain link with a port and a VNI of its own. Then a host learns of a thousand nodes, and of one change.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"kedge/tests/host"
)

// options are what the command line says.
type options struct {
	rounds int
	stream time.Duration
	pings  int
	peers  int
}

func main() {
	host.Main()
	var o options
	flag.IntVar(&o.rounds, "n", 15, "rounds, of which the median is shown")
	flag.DurationVar(&o.stream, "stream", 500*time.Millisecond, "length of each stream")
	flag.IntVar(&o.pings, "pings", 5000, "messages of each ping-pong")
	flag.IntVar(&o.peers, "peers", 1000, "nodes that a host learns of")
	flag.Parse()
	if err := run(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, o options) error {
	if os.Getuid() != 0 {
		return fmt.Errorf("needs root to make hosts")
	}
	var ours, raw figures
	if err := between(o, &ours, &raw); err != nil {
		return fmt.Errorf("measure between two hosts: %w", err)
	}
	all, one, err := program(o)
	if err != nil {
		return fmt.Errorf("measure many nodes: %w", err)
	}
	fmt.Fprintf(w, "Medians of %d rounds, streams of %s with cubic, %d messages each.\n\n", o.rounds, o.stream, o.pings)
	fmt.Fprintln(w, "| | kedge | VXLAN by hand | | aim |")
	fmt.Fprintln(w, "|---|---|---|---|---|")
	ratio := median(pairs(ours.gigabits, raw.gigabits, func(a, b float64) float64 { return a / b }))
	added := median(pairs(ours.micros, raw.micros, func(a, b float64) float64 { return a - b }))
	fmt.Fprintf(w, "| throughput, Gbit/s | %.2f | %.2f | ratio %.2f | ≥ 0.95 |\n", median(ours.gigabits), median(raw.gigabits), ratio)
	fmt.Fprintf(w, "| round trip, µs | %.1f | %.1f | %+.1f | ≤ +5 |\n", median(ours.micros), median(raw.micros), added)
	fmt.Fprintf(w, "| %d nodes programmed, ms | %.0f | | | < 1000 |\n", o.peers, median(all))
	fmt.Fprintf(w, "| one node changed, ms | %.2f | | | ≤ 5 |\n\n", median(one))
	_, err = fmt.Fprintf(w, "Of each round, Gbit/s: kedge %.2f, by hand %.2f; µs: kedge %.1f, by hand %.1f.\n", ours.gigabits, raw.gigabits, ours.micros, raw.micros)
	return err
}

// figures are those of all rounds.
type figures struct{ gigabits, micros []float64 }

// pairs compares the two sides of each round: what else the machine does changes from round to round.
func pairs(a, b []float64, compare func(a, b float64) float64) []float64 {
	var all []float64
	for i := range a {
		all = append(all, compare(a[i], b[i]))
	}
	return all
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return 0
	}
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
