package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// The states of a spec that matter here; ginkgo has more words for a failure.
const (
	passedState  = "passed"
	skippedState = "skipped"
	failedState  = "failed"
)

// report is what ginkgo's JSON report says of the specs it ran.
type report struct {
	specs   []spec
	runTime time.Duration
}

// spec is one test of the suite.
type spec struct {
	Containers []string      `json:"ContainerHierarchyTexts"`
	Leaf       string        `json:"LeafNodeText"`
	LeafType   string        `json:"LeafNodeType"`
	State      string        `json:"State"`
	RunTime    time.Duration `json:"RunTime"`
	Failure    struct {
		Message string `json:"Message"`
	} `json:"Failure"`
}

// name is the full name, as focus expressions see it.
func (s spec) name() string { return strings.Join(append(slices.Clone(s.Containers), s.Leaf), " ") }

// outcome is the state, with every word for a failure as one.
func (s spec) outcome() string {
	switch s.State {
	case passedState, skippedState, "pending":
		return s.State
	}
	return failedState
}

// readReport reads a file in the form of ginkgo's --json-report.
func readReport(file string) (*report, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	var suites []struct {
		SpecReports []spec
		RunTime     time.Duration
	}
	if err := json.Unmarshal(text, &suites); err != nil {
		return nil, fmt.Errorf("parse report %s: %w", file, err)
	}
	r := &report{}
	for _, s := range suites {
		r.runTime += s.RunTime
		for _, one := range s.SpecReports {
			// Specs outside the filter are reported as skipped; nodes such as BeforeSuite count only when they fail.
			chosen := one.LeafType == "It" && (one.State != skippedState || one.RunTime > 0)
			if chosen || one.LeafType != "It" && one.outcome() == failedState {
				r.specs = append(r.specs, one)
			}
		}
	}
	return r, nil
}

func (r *report) total() int { return len(r.specs) }

// of returns the specs with an outcome.
func (r *report) of(outcome string) []spec {
	return slices.DeleteFunc(slices.Clone(r.specs), func(s spec) bool { return s.outcome() != outcome })
}

// String is the summary: counts, those of each SIG, the slowest specs, and each failure's first line.
func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d passed, %d failed, %d skipped in %s\n", len(r.of(passedState)), len(r.of(failedState)), len(r.of(skippedState)), r.runTime.Round(time.Second))
	fmt.Fprintf(&b, "%s\n\nslowest:\n", r.sigs())
	slowest := slices.SortedFunc(slices.Values(r.specs), func(a, b spec) int { return cmp.Compare(b.RunTime, a.RunTime) })
	for _, s := range slowest[:min(10, len(slowest))] {
		fmt.Fprintf(&b, "%7.1fs %s\n", s.RunTime.Seconds(), s.name())
	}
	for _, outcome := range []string{failedState, skippedState} {
		for i, s := range r.of(outcome) {
			if i == 0 {
				fmt.Fprintf(&b, "\n%s:\n", outcome)
			}
			fmt.Fprintf(&b, "- %s\n    %s\n", s.name(), firstLine(s.Failure.Message))
		}
	}
	return b.String()
}

// sigs counts the specs of each special interest group, the first tag of a name.
func (r *report) sigs() string {
	count := map[string]int{}
	for _, s := range r.specs {
		sig, _, _ := strings.Cut(strings.TrimPrefix(s.name(), "["), "]")
		count[sig]++
	}
	names := make([]string, 0, len(count))
	for sig := range count {
		names = append(names, sig)
	}
	slices.Sort(names)
	for i, sig := range names {
		names[i] = fmt.Sprintf("%s %d", sig, count[sig])
	}
	return strings.Join(names, ", ")
}

func firstLine(text string) string {
	const most = 300
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if len(line) > most {
		line = line[:most] + "…"
	}
	return line
}
