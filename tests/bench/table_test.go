package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kedge")
	if err := os.WriteFile(file, make([]byte, 3e6), 0o700); err != nil {
		t.Fatal(err)
	}
	ours, theirs := samples{}, samples{}
	for _, v := range []float64{9, 2, 3} {
		ours.add(sample{nodeReady: v, resident: 100 * v, agentResident: 10 * v})
		theirs.add(sample{nodeReady: 2 * v})
	}
	var out strings.Builder
	if err := report(&out, options{kedge: file, rounds: 3, idle: time.Minute}, ours, theirs); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"medians of 3 rounds, idle over 1m0s.",
		"| cold start to node Ready, s | 3.00 | 6.00 | 0.50 | ≤ 0.80 |",
		"| resident memory, idle, MB | 300 | – | – | ≤ 0.45 |",
		"| agent: resident memory, idle, MB | 30.00 | – | – | ≤ 120 MB |",
		"| executable, MB | 3 | | | |",
		"cold start to node Ready, s: 9.00 2.00 3.00;",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not have %q:\n%s", want, out.String())
		}
	}
}

func TestMedian(t *testing.T) {
	all := samples{cpu: {4, 1, 3, 2}}
	if m, ok := all.median(cpu); m != 2.5 || !ok {
		t.Errorf("median %v, %v", m, ok)
	}
	if _, ok := all.median(writes); ok {
		t.Error("a median of nothing")
	}
}

func TestIdle(t *testing.T) {
	s := sample{}
	if err := idle(t.Context(), s, os.Getpid(), 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if s[resident] < 1 || s[anonymous] <= 0 || s[anonymous] > s[resident] {
		t.Errorf("usage of this process: %v", s)
	}
}
