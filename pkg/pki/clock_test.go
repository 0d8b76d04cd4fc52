package pki

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWrongClockIsNamed(t *testing.T) {
	for _, c := range []struct {
		now  time.Time
		want string
	}{
		{time.Date(1970, 1, 1, 0, 0, 10, 0, time.UTC), "1970-01-01T00:00:10Z"},
		{time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC), "2050-01-01T00:00:00Z"},
	} {
		o := options(t)
		ensure(t, o)
		before := tree(t, o)
		o.Clock = func() time.Time { return c.now }
		_, err := Ensure(t.Context(), o)
		if err == nil {
			t.Fatal("no error")
		}
		equal(t, hide(o, err.Error()), "check certificate authorities: the clock of this machine shows "+c.want+
			", but DATA/server/tls/root.crt is valid from 2026-02-28T12:00:00Z to 2046-02-24T12:00:00Z: set the clock and start again; nothing was changed")
		if diff := cmp.Diff(before, tree(t, o)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestClockSlightlyBehind(t *testing.T) {
	o := options(t)
	ensure(t, o)
	o.Clock = func() time.Time { return noon.Add(-23 * time.Hour) }
	healthy(t, ensure(t, o))
}

// A machine without a battery for its clock creates the cluster in 1970 and then reaches a time server.
func TestClockThatWasBehindAtCreation(t *testing.T) {
	o := options(t)
	o.Earliest = noon
	o.Clock = func() time.Time { return time.Unix(60, 0) }
	log := logTo(&o)
	healthy(t, ensure(t, o))
	first, _, _ := strings.Cut(log.String(), "\n")
	equal(t, first, "level=WARN msg=\"the clock of this machine is behind: set it; certificates are issued to be valid before and after\" clock=1970-01-01T00:01:00Z atLeast=2026-03-01T12:00:00Z")

	o.Clock = func() time.Time { return noon.Add(time.Hour) }
	s := ensure(t, o)
	healthy(t, s)
	if root := s.authorities[Root].cert.NotAfter; !root.Equal(noon.Add(20 * 365 * 24 * time.Hour)) {
		t.Errorf("the root expires %s", root)
	}
	if leaf := leafOf(t, s, APIServer).NotAfter; !leaf.Equal(noon.Add(365*24*time.Hour + time.Hour)) {
		t.Errorf("the leaf expires %s", leaf)
	}
}

// A leaf issued while the clock was ahead is issued again when the clock is right; renewal stops at the end of the authority.
func TestLeavesOutsideTheirTime(t *testing.T) {
	o := options(t)
	ensure(t, o)
	at := func(now time.Time) *Store { o.Clock = func() time.Time { return now }; return ensure(t, o) }

	s := at(noon.Add(3 * 365 * 24 * time.Hour))
	healthy(t, s)
	s = at(noon)
	healthy(t, s)
	if to := leafOf(t, s, Admin).NotAfter; !to.Equal(noon.Add(365 * 24 * time.Hour)) {
		t.Errorf("expires %s", to)
	}

	end := s.authorities[Root].cert.NotAfter
	s = at(end.Add(-time.Hour))
	last := leafOf(t, s, Admin)
	if !last.NotAfter.Equal(end) {
		t.Errorf("expires %s, want %s", last.NotAfter, end)
	}
	if again := leafOf(t, at(end.Add(-time.Minute)), Admin); !again.Equal(last) {
		t.Error("renewed although that does not help")
	}
}
