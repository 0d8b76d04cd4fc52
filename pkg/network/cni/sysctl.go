package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	ipv6Dir        = "/proc/sys/net/ipv6"
	forwarding4    = "/proc/sys/net/ipv4/ip_forward"
	forwarding6    = "/proc/sys/net/ipv6/conf/all/forwarding"
	linkSysctl4    = "/proc/sys/net/ipv4/conf/"
	linkSysctl6    = "/proc/sys/net/ipv6/conf/"
	routeLocalnet  = "/route_localnet"
	disableIPv6    = "/disable_ipv6"
	acceptRA       = "/accept_ra"
	acceptRARouter = "2" // also on a host that forwards
)

// hasIPv6 tells whether the kernel has IPv6 and it is not switched off.
func hasIPv6() bool {
	if _, err := os.Stat(ipv6Dir); err != nil {
		return false
	}
	disabled, err := readSysctl(linkSysctl6 + "all" + disableIPv6)
	return err == nil && disabled != "1"
}

// ensureSysctl gives a kernel parameter its value; it writes nothing when the value is right, so that read-only ones do no harm.
func ensureSysctl(path, value string) error {
	found, err := readSysctl(path)
	if err != nil {
		return err
	}
	if found == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set %s to %s (it is %s; set it on the host): %w", path, value, found, err)
	}
	return nil
}

func readSysctl(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read kernel parameter: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// setting is a kernel parameter with the value that it has or shall have.
type setting struct{ path, value string }

// forwardingSettings are what makes the host a router. The kernel then stops to take router advertisements on links that are
// set to do so on hosts only (accept_ra=1, Documentation/networking/ip-sysctl.rst): those keep taking them.
func forwardingSettings(ipv6 bool) ([]setting, error) {
	want := []setting{{forwarding4, "1"}}
	if !ipv6 {
		return want, nil
	}
	if value, err := readSysctl(forwarding6); err != nil || value == "1" {
		return want, err
	}
	links, err := filepath.Glob(linkSysctl6 + "*" + acceptRA)
	if err != nil {
		return nil, fmt.Errorf("list links that take router advertisements: %w", err)
	}
	for _, path := range links {
		if value, err := readSysctl(path); err == nil && value == "1" {
			want = append(want, setting{path, acceptRARouter})
		}
	}
	return append(want, setting{forwarding6, "1"}), nil
}

// applySettings sets them; a link that is gone needs none.
func applySettings(settings []setting) error {
	for _, s := range settings {
		if err := ensureSysctl(s.path, s.value); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// differing are the values that the settings would change.
func differing(settings []setting) map[string]string {
	former := map[string]string{}
	for _, s := range settings {
		if found, err := readSysctl(s.path); err == nil && found != s.value {
			former[s.path] = found
		}
	}
	return former
}

// restoreSettings gives kernel parameters their former values.
func restoreSettings(former map[string]string) error {
	var settings []setting
	for path, value := range former {
		settings = append(settings, setting{path, value})
	}
	return applySettings(settings)
}

// bootID tells one boot of the machine from another (random(4)).
func bootID() string {
	id, err := readSysctl("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return id
}
