package machine

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// PIDs lists the processes that /proc shows, in no particular order.
func PIDs() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var pids []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Command is the command line of a process, its name in brackets when it has none, and "" when it is gone.
func Command(pid int) string {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	text, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return ""
	}
	if line := strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " ")); line != "" {
		return line
	}
	name, err := os.ReadFile(filepath.Join(dir, "comm"))
	if err != nil {
		return ""
	}
	return "[" + strings.TrimSpace(string(name)) + "]"
}
