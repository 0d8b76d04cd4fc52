package preflight

import (
	"log/slog"
	"os"
	"strconv"
	"syscall"

	"kedge/pkg/node/check"
)

// openFiles is the limit that containers get elsewhere, too.
const openFiles = 1 << 20

// raiseOpenFiles raises both limits as far as is allowed; containers inherit them.
func raiseOpenFiles(log *slog.Logger) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		log.Warn("limit of open files cannot be read", "error", err)
		return
	}
	wanted := syscall.Rlimit{Cur: max(limit.Max, openFiles), Max: max(limit.Max, openFiles)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &wanted) == nil {
		return
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		log.Warn("limit of open files cannot be raised", "limit", limit.Cur, "error", err)
	}
	log.Debug("limit of open files stays", "limit", limit.Max)
}

// setSysctls sets what is not good. What cannot be set and is required is found by the examination that follows.
func setSysctls(log *slog.Logger, all []check.Sysctl) {
	for _, s := range all {
		value, err := s.Read()
		if err != nil || s.Good(value) {
			continue
		}
		err = os.WriteFile(s.Path(), []byte(strconv.Itoa(s.Value)), 0)
		switch {
		case err == nil:
			log.Debug("sysctl set", "name", s.Name, "value", s.Value, "was", value)
		case !s.Required:
			log.Warn("sysctl cannot be set", "name", s.Name, "value", value, "wanted", s.Value, "neededFor", s.NeededFor, "error", err)
		}
	}
}
