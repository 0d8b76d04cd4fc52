package pki

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable writes what `kedge certificate list` shows.
func WriteTable(w io.Writer, infos []Info) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows := [][]string{{"NAME", "AUTHORITY", "SUBJECT", "EXPIRES", "RENEWAL", "STATE", "NAMES"}}
	for _, i := range infos {
		state := "ok"
		if i.Problem != "" {
			state = i.Problem
		}
		rows = append(rows, []string{i.Name, orDash(string(i.Authority)), orDash(i.Subject), day(i.NotAfter), day(i.RenewAt), state, orDash(strings.Join(i.SANs, ","))})
	}
	for _, r := range rows {
		if _, err := fmt.Fprintln(t, strings.Join(r, "\t")); err != nil {
			return fmt.Errorf("write table: %w", err)
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
