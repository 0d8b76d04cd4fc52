// Package status knows what the parts of a running process are doing, and tells it on a Unix socket that only root
// can open. The running process records and serves; `kedge status` fetches and prints. It imports pkg/lifecycle and
// pkg/version only.
package status

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"kedge/pkg/lifecycle"
)

// Component is the state of one part of the process.
type Component struct {
	Name    string          `json:"name"`
	State   lifecycle.State `json:"state"`
	Version string          `json:"version,omitempty"`
	Since   time.Time       `json:"since"`
	Error   string          `json:"error,omitempty"`
}

// Node is the machine as the cluster knows it.
type Node struct {
	Name      string   `json:"name"`
	Ready     bool     `json:"ready"`
	Reason    string   `json:"reason,omitempty"` // why it is not ready
	Addresses []string `json:"addresses"`
	PodCIDRs  []string `json:"podCIDRs,omitempty"`
}

// Certificate is one leaf that the process keeps valid.
type Certificate struct {
	Name     string    `json:"name"`
	NotAfter time.Time `json:"notAfter"`
	RenewAt  time.Time `json:"renewAt"`
	Problem  string    `json:"problem,omitempty"`
}

// Report is what `kedge status` shows.
type Report struct {
	Healthy      bool          `json:"healthy"`
	Problems     []string      `json:"problems,omitempty"`
	Version      string        `json:"version"`
	Kubernetes   string        `json:"kubernetes"`
	Role         string        `json:"role"`
	PID          int           `json:"pid"`
	Started      time.Time     `json:"started"`
	ReadySeconds float64       `json:"readySeconds,omitempty"` // from start to ready; 0 while starting
	Node         Node          `json:"node"`
	Datastore    string        `json:"datastore,omitempty"`
	DatastoreIll string        `json:"datastoreProblem,omitempty"` // why the datastore does not work
	ProxyMode    string        `json:"proxyMode"`
	Components   []Component   `json:"components"`
	Certificates []Certificate `json:"certificates"`
}

// Judge fills Healthy and Problems from the rest of the report.
func (r *Report) Judge(now time.Time) {
	var problems []string
	if r.DatastoreIll != "" {
		problems = append(problems, r.DatastoreIll)
	}
	for _, c := range r.Components {
		if c.State != lifecycle.Ready {
			problems = append(problems, strings.TrimSpace(fmt.Sprintf("component %s is %s %s", c.Name, c.State, c.Error)))
		}
	}
	if r.Node.Name != "" && !r.Node.Ready {
		problems = append(problems, strings.TrimSpace(fmt.Sprintf("node %s is not ready: %s", r.Node.Name, r.Node.Reason)))
	}
	for _, c := range r.Certificates {
		switch {
		case c.Problem != "":
			problems = append(problems, fmt.Sprintf("certificate %s: %s", c.Name, c.Problem))
		case now.After(c.NotAfter):
			problems = append(problems, fmt.Sprintf("certificate %s expired %s", c.Name, c.NotAfter.Format(time.RFC3339)))
		}
	}
	r.Problems, r.Healthy = problems, len(problems) == 0
}

// WriteText prints the report for people.
func (r *Report) WriteText(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	health := "ok"
	if !r.Healthy {
		health = "not well"
	}
	line := func(format string, args ...any) { fmt.Fprintf(tw, format+"\n", args...) } // errors are reported by Flush
	line("health\t%s", health)
	for _, p := range r.Problems {
		line("problem\t%s", p)
	}
	line("version\t%s (Kubernetes %s)", r.Version, r.Kubernetes)
	line("role\t%s, process %d since %s", r.Role, r.PID, stamp(r.Started))
	line("node\t%s", r.Node.text())
	if len(r.Node.PodCIDRs) > 0 {
		line("pods\t%s", strings.Join(r.Node.PodCIDRs, ", "))
	}
	if r.Datastore != "" {
		line("datastore\t%s", r.Datastore)
	}
	line("proxy\t%s", r.ProxyMode)
	line("certificates\t%s", r.firstExpiry())
	line("\nCOMPONENT\tSTATE\tVERSION\tSINCE")
	for _, c := range r.Components {
		line("%s\t%s\t%s\t%s", c.Name, c.State, c.Version, stamp(c.Since))
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	return nil
}

func (r *Report) firstExpiry() string {
	if len(r.Certificates) == 0 {
		return "none"
	}
	first := slices.MinFunc(r.Certificates, func(a, b Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	return fmt.Sprintf("%d, the first (%s) expires %s and is renewed %s",
		len(r.Certificates), first.Name, stamp(first.NotAfter), stamp(first.RenewAt))
}

// text is none until the kubelet has registered the node, and on a server without one.
func (n Node) text() string {
	if n.Name == "" {
		return "none"
	}
	return fmt.Sprintf("%s %s (%s)", n.Name, ready(n.Ready), strings.Join(n.Addresses, ", "))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func ready(ok bool) string {
	if ok {
		return "ready"
	}
	return "not ready"
}
