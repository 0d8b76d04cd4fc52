package machine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Capabilities is a set of capabilities(7), one bit each, as the kernel numbers them.
type Capabilities uint64

// Has tells whether the capability (unix.CAP_…) is in the set.
func (c Capabilities) Has(capability int) bool { return c&(1<<capability) != 0 }

func parseCapabilities(status string) (Capabilities, error) {
	for line := range strings.Lines(status) {
		hex, ok := strings.CutPrefix(line, "CapEff:")
		if !ok {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		if err != nil {
			return 0, fmt.Errorf("parse CapEff in /proc/self/status: %w", err)
		}
		return Capabilities(set), nil
	}
	return 0, errors.New("read capabilities: no CapEff in /proc/self/status")
}

// lowestScore is what the pause container of a guaranteed pod gets.
const lowestScore = -998

// oomScoreRestricted tries to lower the score and puts it back: CAP_SYS_RESOURCE alone does not tell, because
// the kernel asks for it in the first user namespace.
func oomScoreRestricted(file string) (bool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return true, fmt.Errorf("read own oom score: %w", err)
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return true, fmt.Errorf("parse own oom score: %w", err)
	}
	if score <= lowestScore {
		return false, nil
	}
	if err := writeScore(file, lowestScore); errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EROFS) {
		return true, nil
	} else if err != nil {
		return true, fmt.Errorf("try to lower own oom score: %w", err)
	}
	if err := writeScore(file, score); err != nil {
		return false, fmt.Errorf("restore own oom score %d: %w", score, err)
	}
	return false, nil
}

func writeScore(file string, score int) error {
	return os.WriteFile(file, []byte(strconv.Itoa(score)), 0)
}
