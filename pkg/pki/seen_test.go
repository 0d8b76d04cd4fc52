package pki

import (
	"net"
	"sync"
	"testing"
)

// seen counts the different values under each name.
type seen struct {
	mu     sync.Mutex
	values map[string]map[string]bool
}

func newSeen() *seen { return &seen{values: map[string]map[string]bool{}} }

func (s *seen) add(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values[name] == nil {
		s.values[name] = map[string]bool{}
	}
	s.values[name][value] = true
}

func (s *seen) atLeast(n int, names ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if len(s.values[name]) < n {
			return false
		}
	}
	return true
}

func mustListen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
