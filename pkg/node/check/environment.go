package check

import (
	"fmt"
	"os"
	"syscall"

	"kedge/pkg/node/machine"
)

// leastFiles is the number of open files below which a busy node stumbles.
const leastFiles = 16384

func environment() Report {
	return Report{kernelLog(), propagation(), openFiles(), swap(), selinux(), apparmor()}
}

func kernelLog() Finding {
	f := Finding{What: "/dev/kmsg", Found: "readable", NeededFor: "kubelet, to see out-of-memory kills", Status: OK}
	// It may lead to a terminal, which must not become this process's own.
	file, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		f.Found, f.Status = err.Error(), Missing
		return f.mend("in a container: give it the device /dev/kmsg, or a symbolic link from there to /dev/console")
	}
	file.Close()
	return f
}

func propagation() Finding {
	f := Finding{What: "mount propagation of /", Found: "shared", NeededFor: "volumes with mountPropagation", Status: OK}
	shared, err := machine.Shared("/")
	if err != nil {
		f.Found, f.Status = err.Error(), Warn
	} else if !shared {
		f.Found, f.Status = "private", Warn
	}
	return f.mend("mount --make-rshared / before the start")
}

func openFiles() Finding {
	f := Finding{What: "open files limit", NeededFor: "everything"}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		f.Found, f.Status = err.Error(), Warn
		return f
	}
	f.Found, f.Status = fmt.Sprint(limit.Max), verdict(limit.Max >= leastFiles, Warn)
	return f.mend("raise the hard limit (LimitNOFILE= of the service)")
}

func swap() Finding {
	f := Finding{What: "swap", Found: "none", NeededFor: "information", Status: OK}
	if bytes, err := machine.SwapBytes(); err != nil {
		f.Found = err.Error()
	} else if bytes > 0 {
		f.Found = fmt.Sprintf("%d MiB, not used for pods", bytes/mebibyte)
	}
	return f
}

func selinux() Finding {
	f := Finding{What: "SELinux", Found: "off", NeededFor: "information", Status: OK}
	if enabled, enforcing := machine.SELinux(); enforcing {
		f.Found, f.Status = "enforcing, containers are not labelled", Warn
	} else if enabled {
		f.Found = "permissive"
	}
	return f.mend("set SELinux to permissive when containers are refused access")
}

func apparmor() Finding {
	f := Finding{What: "AppArmor", Found: "off", NeededFor: "pods with an AppArmor profile", Status: OK}
	if enabled, usable := machine.AppArmor(); usable {
		f.Found = "on"
	} else if enabled {
		f.Found = "on, but /sys/kernel/security cannot be used from here"
	}
	return f
}
