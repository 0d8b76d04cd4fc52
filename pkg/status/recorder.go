package status

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"kedge/pkg/lifecycle"
)

// Recorder remembers the state of each component. Its Observe method is a lifecycle.Observer.
type Recorder struct {
	mu       sync.Mutex
	versions map[string]string
	order    []string
	states   map[string]Component
	node     Node
	ready    time.Duration
	proxy    string
}

// NewRecorder returns a recorder that knows the versions of components by name.
func NewRecorder(versions map[string]string) *Recorder {
	return &Recorder{versions: versions, states: map[string]Component{}}
}

// Observe records a change of state.
func (r *Recorder) Observe(name string, state lifecycle.State, err error) {
	c := Component{Name: name, State: state, Version: r.versions[name], Since: time.Now()}
	if err != nil {
		c.Error = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.states[name]; !known {
		r.order = append(r.order, name)
	}
	r.states[name] = c
}

// SetNode records what the cluster says of this machine.
func (r *Recorder) SetNode(n Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.node = n
}

// SetProxy records how service addresses are served, and why so.
func (r *Recorder) SetProxy(mode, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proxy = mode + " (" + reason + ")"
}

// SetReady records how long it took until everything was ready.
func (r *Recorder) SetReady(took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ready = took
}

// Fill copies what was recorded into a report.
func (r *Recorder) Fill(report *Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	report.Node = r.node
	report.Node.Addresses = slices.Clone(r.node.Addresses)
	report.ProxyMode = cmp.Or(r.proxy, "none yet")
	report.ReadySeconds = r.ready.Seconds()
	report.Components = make([]Component, 0, len(r.order))
	for _, name := range r.order {
		report.Components = append(report.Components, r.states[name])
	}
}
