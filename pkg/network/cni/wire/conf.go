package wire

import (
	"fmt"
	"net/netip"
)

// Conf is the network configuration that the runtime hands to the plugin.
type Conf struct {
	CNIVersion string  `json:"cniVersion"`
	Name       string  `json:"name"`
	Type       string  `json:"type"`
	Socket     string  `json:"socket"`
	Runtime    Runtime `json:"runtimeConfig"`
	PrevResult *Result `json:"prevResult,omitempty"`
	// ValidAttachments comes with GC: everything else may be released.
	ValidAttachments []AttachmentID `json:"cni.dev/valid-attachments,omitempty"`
}

// Runtime holds the capability arguments (CNI CONVENTIONS.md) that the configuration list announces.
type Runtime struct {
	PortMappings []PortMapping `json:"portMappings,omitempty"`
	Bandwidth    Bandwidth     `json:"bandwidth"`
	IPs          []string      `json:"ips,omitempty"` // addresses, with or without a prefix length
	MAC          string        `json:"mac,omitempty"`
}

// PortMapping sends a port of the host to a port of the pod.
type PortMapping struct {
	HostPort      uint16 `json:"hostPort"`
	ContainerPort uint16 `json:"containerPort"`
	Protocol      string `json:"protocol"` // tcp, udp or sctp; empty is tcp
	HostIP        string `json:"hostIP,omitempty"`
}

// Bandwidth limits the pod; rates in bits per second, bursts in bits, 0 is no limit. Ingress is towards the pod.
type Bandwidth struct {
	IngressRate  uint64 `json:"ingressRate,omitempty"`
	IngressBurst uint64 `json:"ingressBurst,omitempty"`
	EgressRate   uint64 `json:"egressRate,omitempty"`
	EgressBurst  uint64 `json:"egressBurst,omitempty"`
}

// AttachmentID names one interface of one container.
type AttachmentID struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

// Result answers ADD.
type Result struct {
	CNIVersion string      `json:"cniVersion"`
	Interfaces []Interface `json:"interfaces"`
	IPs        []IP        `json:"ips"`
	Routes     []Route     `json:"routes"`
	DNS        struct{}    `json:"dns"`
}

// Interface is a link that ADD made; Sandbox is empty for the host's side.
type Interface struct {
	Name    string `json:"name"`
	MAC     string `json:"mac"`
	MTU     int    `json:"mtu,omitempty"` // since 1.1.0
	Sandbox string `json:"sandbox,omitempty"`
}

// IP is an address of the interface with that index.
type IP struct {
	Address   netip.Prefix `json:"address"`
	Gateway   netip.Addr   `json:"gateway"`
	Interface int          `json:"interface"`
}

// Route is a route of the pod.
type Route struct {
	Dst netip.Prefix `json:"dst"`
	GW  netip.Addr   `json:"gw"`
}

// HostAddress is the parsed HostIP; it is invalid (the zero value) when none is given, which means all of both families.
func (m PortMapping) HostAddress() (netip.Addr, error) {
	if m.HostIP == "" {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(m.HostIP)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("host port %d: hostIP: %w", m.HostPort, err)
	}
	return addr.Unmap().WithZone(""), nil
}
