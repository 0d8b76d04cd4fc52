package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// figure names one measurement.
type figure string

const (
	apiReady  figure = "cold start to API ready, s"
	nodeReady figure = "cold start to node Ready, s"
	usable    figure = "cold start until a first pod can be created, s"
	restart   figure = "restart to API ready, s"
	resident  figure = "resident memory, idle, MB"
	anonymous figure = "anonymous memory, idle, MB"
	cpu       figure = "idle CPU, % of a core"
	writes    figure = "idle writes, kB/s"

	agentReady     figure = "agent: join to node Ready, s"
	agentResident  figure = "agent: resident memory, idle, MB"
	agentAnonymous figure = "agent: anonymous memory, idle, MB"
	agentCPU       figure = "agent: idle CPU, % of a core"
)

// sample is one round's figures, samples those of all rounds.
type (
	sample  map[figure]float64
	samples map[figure][]float64
)

func (all samples) add(s sample) {
	for f, v := range s {
		all[f] = append(all[f], v)
	}
}

// median of the rounds; ok is false when there were none.
func (all samples) median(f figure) (m float64, ok bool) {
	v := slices.Sorted(slices.Values(all[f]))
	if len(v) == 0 {
		return 0, false
	}
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2, true
	}
	return v[len(v)/2], true
}

// row is a figure with what kedge aims at.
type row struct {
	figure figure
	ratio  float64 // to the separate programs, at most; 0 for none
	limit  float64 // in the figure's unit, at most; 0 for none
}

// rows are in the order of the table.
func rows() []row {
	return []row{
		{apiReady, 0, 0}, {nodeReady, 0.8, 0}, {usable, 0.4, 0}, {restart, 0.6, 0}, {resident, 0.45, 0}, {anonymous, 0.5, 0}, {cpu, 0.5, 0}, {writes, 0.6, 0},
		{agentReady, 0, 0}, {agentResident, 0, 120}, {agentAnonymous, 0, 0}, {agentCPU, 0, 0},
	}
}

// aim is the last column.
func (r row) aim() string {
	switch {
	case r.ratio > 0:
		return fmt.Sprintf("≤ %.2f", r.ratio)
	case r.limit > 0:
		return fmt.Sprintf("≤ %.0f MB", r.limit)
	}
	return "–"
}

func report(w io.Writer, o options, ours, theirs samples) error {
	fmt.Fprintf(w, "%s, %s; medians of %d rounds, idle over %s.\n\n", machine(), time.Now().UTC().Format(time.DateOnly), o.rounds, o.idle)
	fmt.Fprintln(w, "| | kedge | separate programs | ratio | aim |")
	fmt.Fprintln(w, "|---|---|---|---|---|")
	for _, r := range rows() {
		a, _ := ours.median(r.figure)
		b, ok := theirs.median(r.figure)
		other, ratio := "–", "–"
		if ok {
			other = number(b)
		}
		if ok && b > 0 {
			ratio = fmt.Sprintf("%.2f", a/b)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", r.figure, number(a), other, ratio, r.aim())
	}
	info, err := os.Stat(o.kedge)
	if err != nil {
		return fmt.Errorf("find executable: %w", err)
	}
	fmt.Fprintf(w, "| executable, MB | %.0f | | | |\n", float64(info.Size())/1e6)
	if packed, err := exec.Command("sh", "-c", `zstd -19 -T0 -q -c "$0" | wc -c`, o.kedge).Output(); err == nil {
		var bytes float64
		if _, err := fmt.Sscan(string(packed), &bytes); err == nil && bytes > 0 {
			fmt.Fprintf(w, "| executable with zstd -19, MB | %.0f | | | ≤ 70 |\n", bytes/1e6)
		}
	}
	_, err = fmt.Fprintf(w, "\nOf each round, kedge: %s\n", rounds(ours))
	if len(theirs) > 0 && err == nil {
		_, err = fmt.Fprintf(w, "Of each round, separate programs: %s\n", rounds(theirs))
	}
	return err
}

// rounds lists all values, so that their spread can be seen.
func rounds(all samples) string {
	var parts []string
	for _, r := range rows() {
		values := make([]string, 0, len(all[r.figure]))
		for _, v := range all[r.figure] {
			values = append(values, number(v))
		}
		parts = append(parts, fmt.Sprintf("%s: %s", r.figure, strings.Join(values, " ")))
	}
	return strings.Join(parts, "; ") + "."
}

func number(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// machine describes where this runs, in a few words.
func machine() string {
	model, memory := "unknown processor", ""
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		memory = fmt.Sprintf(", %.0f GiB", parseFields(string(text), ":")["MemTotal"]/(1<<20))
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	kernel, _, _ := strings.Cut(strings.TrimSpace(string(release)), "-")
	return fmt.Sprintf("%d × %s%s, Linux %s", runtime.NumCPU(), model, memory, kernel)
}
