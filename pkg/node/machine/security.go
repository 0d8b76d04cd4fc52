package machine

import (
	"os"
	"strings"
)

// SELinux tells whether it is enabled and whether it enforces its policy.
func SELinux() (enabled, enforcing bool) {
	text, err := os.ReadFile("/sys/fs/selinux/enforce")
	return err == nil, strings.TrimSpace(string(text)) == "1"
}

// AppArmor tells whether the kernel has it switched on and this process can load profiles.
func AppArmor() (enabled, usable bool) {
	text, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	if err != nil || !strings.HasPrefix(string(text), "Y") {
		return false, false
	}
	_, err = os.Stat("/sys/kernel/security/apparmor/profiles")
	return true, err == nil
}
