package ipvs

import (
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// leastTimeout keeps an idle connection beyond two hours, when the hosts' TCP keepalive sends its first probe (tcp(7)),
	// and the eleven minutes of its further probes. The kernel's own 15 minutes are what breaks idle connections with IPVS.
	leastTimeout = 3 * time.Hour
	// trackedTimeout is conntrack's, of five days where nobody changed it: as long as the connection is tracked, IPVS knows it too.
	trackedTimeout = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"
)

// tcpTimeout is how long IPVS shall remember an idle TCP connection, in the network namespace of the calling thread.
func tcpTimeout() time.Duration {
	raw, err := os.ReadFile(trackedTimeout)
	if err != nil {
		return leastTimeout
	}
	seconds, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return leastTimeout
	}
	return max(leastTimeout, time.Duration(seconds)*time.Second)
}
