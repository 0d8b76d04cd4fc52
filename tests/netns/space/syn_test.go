package space

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// TestLate loses the first reset: the refusal that follows is told from one that comes at once.
func TestLate(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, target := range []string{"127.0.0.1:9", "[::1]:9"} {
		if got := s.Ask("tcp", netip.AddrPort{}, target, time.Minute); got != Refused {
			t.Errorf("%s: %q, want %q", target, got, Refused)
		}
		before := resets(t, s)
		stop, err := s.KeepResets()
		if err != nil {
			t.Fatal(err)
		}
		answer := make(chan string, 1)
		go func() { answer <- s.Ask("tcp", netip.AddrPort{}, target, time.Minute) }()
		tick := time.NewTicker(time.Millisecond)
		for begin := time.Now(); resets(t, s) == before; <-tick.C {
			if time.Since(begin) > 30*time.Second {
				t.Fatal("there was no reset")
			}
		}
		tick.Stop()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if got, want := <-answer, "refused after its SYN was sent again"; !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

// resets is how many TCP resets the namespace has sent.
func resets(t *testing.T, s *Space) (sent string) {
	t.Helper()
	err := s.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		names, values := []string(nil), []string(nil)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "Tcp:") {
				names, values = values, strings.Fields(line)
			}
		}
		for i, name := range names {
			if name == "OutRsts" {
				sent = values[i]
			}
		}
		return nil
	})
	if err != nil || sent == "" {
		t.Fatalf("count of resets %q, %v", sent, err)
	}
	return sent
}
