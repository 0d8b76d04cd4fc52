package ctr

import (
	"strings"
	"testing"
)

// TestErrors: ctr asks where it was told to, returns what went wrong, and does not end the process.
func TestErrors(t *testing.T) {
	socket := t.TempDir() + "/containerd.sock"
	for _, args := range [][]string{{"version"}, {"images", "list"}, {"--namespace", "other", "containers", "list"}} {
		code, err := Run(args, socket)
		if code != 1 || err == nil || !strings.Contains(err.Error(), socket) {
			t.Errorf("Run(%v) = %d, %v; want 1 and an error about %s", args, code, err, socket)
		}
	}
	t.Setenv("CONTAINERD_ADDRESS", "/elsewhere.sock")
	if _, err := Run([]string{"version"}, socket); err == nil || !strings.Contains(err.Error(), "/elsewhere.sock") {
		t.Errorf("CONTAINERD_ADDRESS is not honoured: %v", err)
	}
	if code, err := Run([]string{"--help"}, socket); code != 0 || err != nil {
		t.Errorf("Run(--help) = %d, %v", code, err)
	}
}
