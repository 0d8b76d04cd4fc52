package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTable: medians of rounds, a section for each number of services.
func TestTable(t *testing.T) {
	all := table{}
	for _, v := range []float64{3, 100, 0.5} {
		all.add("kedge-nftables", 1000, result{program: v, changeWorst: 2 * v})
	}
	all.add("kedge-nftables", 10000, result{program: 7})
	var text strings.Builder
	if err := all.print(&text, options{subjects: "kedge-nftables", rounds: 3, plan: plan{Changes: 50}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(text.String()) {
		if strings.Contains(line, "services") || strings.Contains(line, string(program)) || strings.Contains(line, string(changeWorst)) {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		"| 1000 services with 5 endpoints each | kedge-nftables |",
		"| start until all is programmed, s | 3.00 |",
		"| endpoint change to kernel, p99, ms | 6.00 |",
		"| 10000 services with 5 endpoints each | kedge-nftables |",
		"| start until all is programmed, s | 7.00 |",
		"| endpoint change to kernel, p99, ms | 0.00 |",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
