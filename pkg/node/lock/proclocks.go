package lock

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelHolder finds the process that holds the lock on file in /proc/locks. The kernel lists only locks of
// processes that this PID namespace sees.
func kernelHolder(file *os.File) (pid int, found bool) {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return 0, false
	}
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0, false
	}
	return parseLocks(string(text), fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino))
}

// parseLocks reads lines such as "3: FLOCK  ADVISORY  WRITE 4242 fe:00:131074 0 EOF"; waiters have "->" first.
func parseLocks(text, inode string) (pid int, found bool) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" || f[3] != "WRITE" || f[5] != inode {
			continue
		}
		pid, err := strconv.Atoi(f[4])
		return max(pid, 0), err == nil
	}
	return 0, false
}
