package overlay

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct{ command, data uint32 }

// ethtoolRequest is struct ifreq of linux/if.h with a pointer in it.
type ethtoolRequest struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// ethtool asks or tells a driver about one value (netdevice(7), SIOCETHTOOL).
func (k *kernel) ethtool(link string, value *ethtoolValue) error {
	request := ethtoolRequest{data: unsafe.Pointer(value)}
	copy(request.name[:unix.IFNAMSIZ-1], link)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(k.control), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return fmt.Errorf("ethtool request %#x for %s: %w", value.command, link, errno)
	}
	return nil
}

// offload tells whether checksums of what a link sends are left to the hardware.
func (k *kernel) offload(link string) bool {
	value := ethtoolValue{command: unix.ETHTOOL_GTXCSUM}
	return k.ethtool(link, &value) == nil && value.data != 0
}

func (k *kernel) setOffload(link string, on bool) error {
	value := ethtoolValue{command: unix.ETHTOOL_STXCSUM}
	if on {
		value.data = 1
	}
	return k.ethtool(link, &value)
}
