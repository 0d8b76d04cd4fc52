package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// figure names one thing that is measured.
type figure string

const (
	program       figure = "start until all is programmed, s"
	programCPU    figure = "CPU for that, s"
	resident      figure = "resident memory, MB"
	anonymous     figure = "anonymous memory, MB"
	changeMedian  figure = "endpoint change to kernel, p50, ms"
	changeWorst   figure = "endpoint change to kernel, p99, ms"
	changeCPU     figure = "CPU per change, ms"
	firstStraight figure = "first byte, straight to the pod, µs"
	firstThrough  figure = "first byte, through a service, µs"
)

func figures() []figure {
	return []figure{program, programCPU, changeMedian, changeWorst, changeCPU, resident, anonymous, firstStraight, firstThrough}
}

// table is all results, by number of services and subject.
type table map[int]map[string][]result

func (t table) add(subject string, services int, r result) {
	if t[services] == nil {
		t[services] = map[string][]result{}
	}
	t[services][subject] = append(t[services][subject], r)
}

func (t table) print(w io.Writer, o options) error {
	subjects := strings.Split(o.subjects, ",")
	if _, err := fmt.Fprintf(w, "%s; medians of %d rounds, %d changes each.\n", time.Now().UTC().Format(time.DateOnly), o.rounds, o.plan.Changes); err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(t)) {
		fmt.Fprintf(w, "\n| %d services with %d endpoints each | %s |\n|---|%s\n", n, endpointsPer, strings.Join(subjects, " | "), strings.Repeat("---|", len(subjects)))
		for _, f := range figures() {
			fmt.Fprintf(w, "| %s |", f)
			for _, subject := range subjects {
				fmt.Fprintf(w, " %s |", number(median(t[n][subject], f)))
			}
			fmt.Fprintln(w)
		}
	}
	return nil
}

func median(rounds []result, f figure) float64 {
	var all []float64
	for _, r := range rounds {
		all = append(all, r[f])
	}
	slices.Sort(all)
	return quantile(all, 0.5)
}

func number(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
