package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// span is a range of addresses.
type span struct{ from, to uintptr }

// dropStartPages unmaps the pages of the executable. A start touches most of it once: the initialization of hundreds of
// packages and their tables. What is used again is mapped again from the page cache, 64 KiB at a time; the rest no longer
// counts as memory of this process, and the kernel may use its page cache for other things.
func dropStartPages() error {
	file, err := os.Open("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("read memory map: %w", err)
	}
	defer file.Close() // read only
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("read memory map: %w", err)
	}
	spans, err := droppable(file, self)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range spans {
		// The pages belong to the executable and are never written: the next access reads them again.
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, s.from, s.to-s.from, unix.MADV_DONTNEED); errno != 0 {
			errs = append(errs, fmt.Errorf("unmap pages: %w", errno))
		}
	}
	return errors.Join(errs...)
}

// droppable lists the mappings of the executable that hold nothing but its file: not writable, and without pages of their own,
// which the relocations of a dynamically linked executable have.
func droppable(smaps io.Reader, executable string) ([]span, error) {
	var out []span
	var current span
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) >= 2 && strings.Contains(f[0], "-"):
			current = span{}
			if len(f) == 6 && f[5] == executable && (f[1] == "r--p" || f[1] == "r-xp") {
				current = parseSpan(f[0])
			}
		case len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0" && current != span{}:
			out = append(out, current)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read memory map: %w", err)
	}
	return out, nil
}

func parseSpan(text string) span {
	low, high, _ := strings.Cut(text, "-")
	from, err1 := strconv.ParseUint(low, 16, 64)
	to, err2 := strconv.ParseUint(high, 16, 64)
	if err1 != nil || err2 != nil || from >= to {
		return span{}
	}
	return span{uintptr(from), uintptr(to)}
}
