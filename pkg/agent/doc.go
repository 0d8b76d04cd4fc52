// Package agent runs a node: the container runtime, the kubelet, the pod network, DNS and the images folder. The server
// role contains it; the agent role is little else. pkg/server and pkg/cli import it.
package agent
