package check

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Status is the verdict about one thing.
type Status string

// The verdicts. Only Missing keeps a node from running.
const (
	OK      Status = "ok"
	Warn    Status = "warn"
	Missing Status = "missing"
)

// Finding is what is known about one thing a node needs.
type Finding struct {
	What      string `json:"what"`
	Found     string `json:"found"`
	NeededFor string `json:"neededFor"`
	Status    Status `json:"status"`
	Mend      string `json:"mend,omitempty"`
}

// Report is the result of an examination, in the order in which it is shown.
type Report []Finding

// Fit tells that nothing required is missing.
func (r Report) Fit() bool { return r.Err() == nil }

// Err is nil when the machine is fit; else it names each thing that is missing, what it is needed for and how to mend it.
func (r Report) Err() error {
	var errs []error
	for _, f := range r {
		if f.Status != Missing {
			continue
		}
		text := fmt.Sprintf("%s: found %s; needed for %s", f.What, f.Found, f.NeededFor)
		if f.Mend != "" {
			text += "; " + f.Mend
		}
		errs = append(errs, errors.New(text))
	}
	return errors.Join(errs...)
}

// WriteText prints the report as a table.
func (r Report) WriteText(w io.Writer) error {
	var table strings.Builder
	t := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "STATUS\tWHAT\tFOUND\tNEEDED FOR\tHOW TO MEND")
	for _, f := range r {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", f.Status, f.What, f.Found, f.NeededFor, f.Mend)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("lay out report: %w", err)
	}
	for line := range strings.Lines(table.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return fmt.Errorf("print report: %w", err)
		}
	}
	return nil
}

// verdict is OK when good, else bad.
func verdict(good bool, bad Status) Status {
	if good {
		return OK
	}
	return bad
}

// mend returns the advice only for what is not OK.
func (f Finding) mend(advice string) Finding {
	if f.Status != OK {
		f.Mend = advice
	}
	return f
}
