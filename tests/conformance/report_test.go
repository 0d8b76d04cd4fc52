package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReport: what the filter left out does not count; a spec that skips itself does, and every kind of failure is one.
func TestReport(t *testing.T) {
	r, err := readReport("testdata/report.json")
	if err != nil {
		t.Fatal(err)
	}
	const want = `1 passed, 2 failed, 1 skipped in 1m2s
sig-apps 1, sig-network 2, sig-node 1

slowest:
   60.0s [sig-network] DNS should resolve [Conformance]
    2.0s [sig-network] DNS should end [Conformance]
    1.5s [sig-node] Pods should run [Conformance]
    0.0s [sig-apps] Job needs three nodes [Conformance]

failed:
- [sig-network] DNS should resolve [Conformance]
    expected answer
- [sig-network] DNS should end [Conformance]
    too late

skipped:
- [sig-apps] Job needs three nodes [Conformance]
    needs 3 nodes
`
	if diff := cmp.Diff(want, r.String()); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}
