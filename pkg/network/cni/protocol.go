package cni

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// protocolNumber is the IP protocol of a Kubernetes or CNI protocol name.
func protocolNumber(name string) (uint8, error) {
	switch strings.ToLower(name) {
	case "", "tcp":
		return unix.IPPROTO_TCP, nil
	case "udp":
		return unix.IPPROTO_UDP, nil
	case "sctp":
		return unix.IPPROTO_SCTP, nil
	}
	return 0, fmt.Errorf("protocol %q is not tcp, udp or sctp", name)
}
