package kernel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func filesystem(name string) func() error {
	return func() error {
		text, err := os.ReadFile("/proc/filesystems")
		if err != nil {
			return fmt.Errorf("read file systems: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 0 && f[len(f)-1] == name {
				return nil
			}
		}
		return fmt.Errorf("find file system %s: %w", name, unix.ENODEV)
	}
}

func namespaces(kinds ...string) func() error {
	return func() error {
		var errs []error
		for _, kind := range kinds {
			if _, err := os.Readlink("/proc/thread-self/ns/" + kind); err != nil {
				errs = append(errs, fmt.Errorf("look for %s namespaces: %w", kind, err))
			}
		}
		return errors.Join(errs...)
	}
}

func userNamespaces() error {
	text, err := os.ReadFile("/proc/sys/user/max_user_namespaces")
	if err != nil {
		return fmt.Errorf("look for user namespaces: %w", err)
	}
	if strings.TrimSpace(string(text)) == "0" {
		return errors.New("user.max_user_namespaces is 0")
	}
	return nil
}

// seccomp asks for the mode with a filter of no address: EFAULT says that filters are known (seccomp(2)).
func seccomp() error {
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, 0, 0, 0)
	if errors.Is(err, unix.EFAULT) {
		return nil
	}
	return fmt.Errorf("try seccomp filter: %w", err)
}

func veth() error {
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "kedge-a"}, PeerName: "kedge-b"}
	if err := netlink.LinkAdd(link); err != nil {
		return fmt.Errorf("add veth pair: %w", err)
	}
	return nil
}

func vxlan() error {
	link := &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "kedge-v"}, VxlanId: 1, Port: 8472}
	if err := netlink.LinkAdd(link); err != nil {
		return fmt.Errorf("add vxlan link: %w", err)
	}
	return nil
}

func conntrack() error {
	if _, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET); err != nil {
		return fmt.Errorf("list connections: %w", err)
	}
	return nil
}

func ipvsFamily() error {
	if _, err := netlink.GenlFamilyGet("IPVS"); err != nil {
		return fmt.Errorf("find netlink family IPVS: %w", err)
	}
	return nil
}

func ipvsConntrack() error {
	if err := ipvsFamily(); err != nil { // the sysctl comes with the module
		return err
	}
	if _, err := os.Stat("/proc/sys/net/ipv4/vs/conntrack"); err != nil {
		return fmt.Errorf("find sysctl net.ipv4.vs.conntrack: %w", err)
	}
	return nil
}

func ipvsScheduler(name string) func() error {
	return func() error {
		if err := ipvsFamily(); err != nil { // the library runs modprobe when there is no family
			return err
		}
		h, err := ipvs.New("")
		if err != nil {
			return fmt.Errorf("open IPVS: %w", err)
		}
		defer h.Close()
		s := &ipvs.Service{Address: net.IPv4(192, 0, 2, 1).To4(), Protocol: unix.IPPROTO_TCP, Port: 1,
			AddressFamily: unix.AF_INET, SchedName: name, Netmask: 0xffffffff}
		if err := h.NewService(s); err != nil {
			return fmt.Errorf("add IPVS service with scheduler %s: %w", name, err)
		}
		return h.DelService(s)
	}
}

// deviceProgram loads, and does not attach, a program of the kind that lets containers at devices.
func deviceProgram() error {
	if err := features.HaveProgramType(ebpf.CGroupDevice); err != nil {
		return fmt.Errorf("load cgroup device program: %w", err)
	}
	return nil
}
