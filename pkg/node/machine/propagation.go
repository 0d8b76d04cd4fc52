package machine

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Shared tells whether mounts below path reach other mount namespaces (mount propagation "shared").
func Shared(path string) (bool, error) {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return false, fmt.Errorf("read mounts: %w", err)
	}
	m := mountOf(mounts, path)
	return m != nil && strings.Contains(" "+m.Optional, " shared:"), nil
}

// MountPoint returns the mount point that path is on.
func MountPoint(path string) (string, error) {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return "", fmt.Errorf("read mounts: %w", err)
	}
	if m := mountOf(mounts, path); m != nil {
		return m.Mountpoint, nil
	}
	return "/", nil
}

// mountOf returns the mount that path is on: of those with the longest mount point the last one covers the others.
func mountOf(mounts []*mountinfo.Info, path string) *mountinfo.Info {
	var best *mountinfo.Info
	for _, m := range mounts {
		if Below(path, m.Mountpoint) && (best == nil || len(m.Mountpoint) >= len(best.Mountpoint)) {
			best = m
		}
	}
	return best
}

// Below tells whether path is dir or below it; both are clean and absolute.
func Below(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, filepath.Clean(dir)+"/")
}
