package check

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Sysctl is a kernel parameter that a node wants.
type Sysctl struct {
	Name      string
	Value     int
	AtLeast   bool // a greater value is as good
	Required  bool
	NeededFor string
}

// Sysctls lists the parameters that a start sets. The kubelet refuses to run with other values of those that say so.
func Sysctls() []Sysctl {
	return []Sysctl{
		{Name: "net.ipv4.ip_forward", Value: 1, Required: true, NeededFor: "pod network"},
		{Name: "vm.overcommit_memory", Value: 1, Required: true, NeededFor: "kubelet"},
		{Name: "vm.panic_on_oom", Value: 0, Required: true, NeededFor: "kubelet"},
		{Name: "kernel.panic", Value: 10, Required: true, NeededFor: "kubelet"},
		{Name: "kernel.panic_on_oops", Value: 1, Required: true, NeededFor: "kubelet"},
		{Name: "kernel.keys.root_maxkeys", Value: 1000000, Required: true, NeededFor: "kubelet"},
		{Name: "kernel.keys.root_maxbytes", Value: 25000000, Required: true, NeededFor: "kubelet"},
		{Name: "fs.inotify.max_user_instances", Value: 1024, AtLeast: true, NeededFor: "many pods that watch files"},
		{Name: "fs.inotify.max_user_watches", Value: 524288, AtLeast: true, NeededFor: "many pods that watch files"},
	}
}

// Path is the parameter's file.
func (s Sysctl) Path() string {
	return filepath.Join("/proc/sys", strings.ReplaceAll(s.Name, ".", "/"))
}

// Read returns the parameter's value.
func (s Sysctl) Read() (int, error) {
	text, err := os.ReadFile(s.Path())
	if err != nil {
		return 0, fmt.Errorf("read sysctl %s: %w", s.Name, err)
	}
	value, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("parse sysctl %s: %w", s.Name, err)
	}
	return value, nil
}

// Good tells whether a value will do.
func (s Sysctl) Good(value int) bool { return value == s.Value || s.AtLeast && value > s.Value }

func (s Sysctl) wanted() string {
	if s.AtLeast {
		return fmt.Sprintf("%d or more", s.Value)
	}
	return strconv.Itoa(s.Value)
}

// sysctls reports values that are not right as well when a start can set them.
func sysctls() Report {
	var out Report
	for _, s := range Sysctls() {
		f := Finding{What: "sysctl " + s.Name, NeededFor: s.NeededFor, Status: OK}
		value, err := s.Read()
		bad := Warn
		if s.Required {
			bad = Missing
		}
		switch {
		case err != nil:
			f.Found, f.Status = err.Error(), bad
		case s.Good(value):
			f.Found = strconv.Itoa(value)
		case unix.Access(s.Path(), unix.W_OK) == nil:
			f.Found = fmt.Sprintf("%d, a start sets %d", value, s.Value)
		default:
			f.Found, f.Status = fmt.Sprintf("%d and read-only", value), bad
		}
		out = append(out, f.mend(fmt.Sprintf("set it to %s on the host (sysctl -w %s=%d), or make /proc/sys writable", s.wanted(), s.Name, s.Value)))
	}
	return out
}
