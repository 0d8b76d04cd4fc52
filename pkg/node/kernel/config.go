package kernel

import (
	"bufio"
	"compress/gzip"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// config is the kernel's build configuration, empty when it cannot be found.
type config map[string]string

func openConfig() *config {
	release := release()
	for _, path := range []string{"/proc/config.gz", "/boot/config-" + release, "/lib/modules/" + release + "/config", "/usr/lib/modules/" + release + "/config"} {
		if c, err := readConfig(path); err == nil {
			return &c
		}
	}
	return &config{}
}

func readConfig(path string) (config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	return parseConfig(r)
}

// parseConfig reads lines "CONFIG_X=value" and "# CONFIG_X is not set", which becomes "n".
func parseConfig(r io.Reader) (config, error) {
	c := config{}
	s := bufio.NewScanner(r)
	for s.Scan() {
		if name, ok := strings.CutSuffix(s.Text(), " is not set"); ok {
			c[strings.TrimPrefix(name, "# ")] = "n"
		} else if name, value, ok := strings.Cut(s.Text(), "="); ok {
			c[name] = value
		}
	}
	return c, s.Err()
}

// value returns y, m, n or what else the option is set to, "" when the configuration is not known. In a known
// configuration an option that is not mentioned is one whose parent is off.
func (c *config) value(option string) string {
	if len(*c) == 0 {
		return ""
	}
	if v, ok := (*c)[option]; ok {
		return v
	}
	return "n"
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
