package overlay

import (
	"errors"
	"fmt"
)

// shown is how many errors are told in full: a lost link means one for each peer.
const shown = 3

// faults counts what was done and keeps the first errors.
type faults struct {
	done   int
	failed int
	first  []error
}

func (f *faults) add(err error) {
	if err == nil {
		f.done++
		return
	}
	if f.failed++; len(f.first) < shown {
		f.first = append(f.first, err)
	}
}

func (f *faults) err() error {
	if f.failed > shown {
		return fmt.Errorf("%w\nand %d more", errors.Join(f.first...), f.failed-shown)
	}
	return errors.Join(f.first...)
}
