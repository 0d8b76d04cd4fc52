package ipvs

import "time"

const (
	// leastTimeout keeps an idle connection beyond two hours, when the hosts' TCP keepalive sends its first probe (tcp(7)),
	// and the eleven minutes of its further probes. The kernel's own 15 minutes are what breaks idle connections with IPVS.
	leastTimeout = 3 * time.Hour
)

// tcpTimeout is how long IPVS shall remember an idle TCP connection, in the network namespace of the calling thread: as long as the
// connection is tracked, which is five days where nobody changed it.
func tcpTimeout() time.Duration {
	seconds, ok := tracked("established")
	if !ok {
		return leastTimeout
	}
	return max(leastTimeout, time.Duration(seconds)*time.Second)
}
