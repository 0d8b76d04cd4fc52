package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"kedge/tests/usage"
)

// watchEvery is how often the kedge processes are looked at during a part.
const watchEvery = 10 * time.Second

// moment is what one kedge process used at a time.
type moment struct {
	usage.Usage
	at         time.Time
	goroutines int   // only where the process was asked, which costs it something
	heap       int64 // bytes of live objects, as goroutines
}

// watch reads the usage of all nodes' kedge until its end.
type watch struct {
	c       *cluster
	dir     string
	started []moment
	peaks   []usage.Usage
	stop    context.CancelFunc
	done    chan error
}

// watch begins with a complete look at every node.
func (c *cluster) watch(ctx context.Context, dir string) (*watch, error) {
	w := &watch{c: c, dir: dir, done: make(chan error, 1)}
	var err error
	if w.started, err = c.look(ctx, dir, "start"); err != nil {
		return nil, err
	}
	w.peaks = make([]usage.Usage, len(c.nodes))
	ctx, w.stop = context.WithCancel(ctx)
	go func() { w.done <- w.record(ctx) }()
	return w, nil
}

// record writes a line for each node at each interval.
func (w *watch) record(ctx context.Context) error {
	out, err := os.Create(filepath.Join(w.dir, "usage.tsv"))
	if err != nil {
		return fmt.Errorf("open record of usage: %w", err)
	}
	defer out.Close()
	fmt.Fprintln(out, "seconds\tnode\tresident_bytes\tanonymous_bytes\tcpu_seconds\tthreads\tfiles")
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		for i, n := range w.c.nodes {
			u, err := usage.Of(n.kedge.Pid())
			if err != nil {
				return fmt.Errorf("%s: %w", n.Name, err)
			}
			p := &w.peaks[i]
			p.Resident, p.Anonymous = max(p.Resident, u.Resident), max(p.Anonymous, u.Anonymous)
			p.Threads, p.Files = max(p.Threads, u.Threads), max(p.Files, u.Files)
			fmt.Fprintf(out, "%.0f\t%s\t%d\t%d\t%.2f\t%d\t%d\n", time.Since(w.started[i].at).Seconds(), n.Name, u.Resident, u.Anonymous, u.CPU.Seconds(), u.Threads, u.Files)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// end looks again, also after a rest if there is one, and returns a table in Markdown.
func (w *watch) end(ctx context.Context, rest time.Duration) (string, error) {
	ended, err := w.c.look(ctx, w.dir, "end")
	looks, names := [][]moment{w.started, ended}, []string{"start", "end"}
	if err == nil && rest > 0 {
		select {
		case <-time.After(rest):
			looks, names = append(looks, nil), append(names, rest.String()+" later")
			looks[2], err = w.c.look(ctx, w.dir, "rested")
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	w.stop()
	if err = errors.Join(err, <-w.done); err != nil {
		return "", err
	}
	return w.table(looks, names), nil
}

func (w *watch) table(looks [][]moment, names []string) string {
	if len(w.c.nodes) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| | | resident MB | anonymous MB | live heap MB | goroutines | files | threads | CPU s |\n|---|---|---|---|---|---|---|---|---|\n")
	for i, n := range w.c.nodes {
		for j, look := range looks {
			m := look[i]
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %d | %d | %d | %.0f |\n", n.role, names[j], megabytes(m.Resident), megabytes(m.Anonymous), megabytes(m.heap),
				m.goroutines, m.Files, m.Threads, (m.CPU - looks[0][i].CPU).Seconds())
		}
		p := w.peaks[i]
		fmt.Fprintf(&b, "| %s | highest | %s | %s | | | %d | %d | |\n", n.role, megabytes(p.Resident), megabytes(p.Anonymous), p.Files, p.Threads)
	}
	return b.String()
}

func megabytes(n int64) string { return fmt.Sprintf("%.0f", float64(n)/1e6) }

// look reads everything about every node, and keeps the profiles from which it was read.
func (c *cluster) look(ctx context.Context, dir, when string) ([]moment, error) {
	all := make([]moment, 0, len(c.nodes))
	for _, n := range c.nodes {
		m, err := n.look(ctx, filepath.Join(dir, n.Name+"-"+when))
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", n.Name, err)
		}
		all = append(all, m)
	}
	return all, nil
}

func (n *node) look(ctx context.Context, prefix string) (m moment, err error) {
	m.at = time.Now()
	if m.Usage, err = usage.Of(n.kedge.Pid()); err != nil { // before the questions, which cost memory
		return m, err
	}
	goroutines, err := n.profile(ctx, "goroutine?debug=1", prefix+"-goroutines.txt")
	if err != nil {
		return m, err
	}
	heap, err := n.profile(ctx, "heap?debug=1&gc=1", prefix+"-heap.txt")
	if err != nil {
		return m, err
	}
	var live int
	m.goroutines, err = number(goroutines, `^goroutine profile: total (\d+)`)
	if err == nil {
		live, err = number(heap, `(?m)^# HeapAlloc = (\d+)$`)
	}
	m.heap = int64(live)
	return m, err
}

func number(text, pattern string) (int, error) {
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("profile has no %s", pattern)
	}
	return strconv.Atoi(found[1])
}

// profile asks kedge's status socket for a profile and keeps it in a file.
func (n *node) profile(ctx context.Context, what, file string) (string, error) {
	path := fmt.Sprintf("/proc/%d/root%s", n.kedge.Pid(), socket)
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://kedge/debug/pprof/"+what, nil)
	if err != nil {
		return "", fmt.Errorf("build request: %w", err)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(req)
	if err != nil {
		return "", fmt.Errorf("ask for profile: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("read profile: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask for profile %s: %s", what, resp.Status)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return "", fmt.Errorf("keep profile: %w", err)
	}
	return string(text), nil
}
