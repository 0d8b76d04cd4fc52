package ports

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// The states of sockets that keep others from listening, as /proc/net/tcp and /proc/net/udp write them.
const (
	tcpListen = "0A"
	udpBound  = "07"
)

// sockets returns the inodes of the sockets that listen on a port, in this network namespace.
func sockets(network string, number int) map[string]bool {
	state := tcpListen
	if network == "udp" {
		state = udpBound
	}
	inodes := map[string]bool{}
	for _, family := range []string{"", "6"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + network + family)
		if err != nil {
			continue
		}
		parseSockets(string(text), state, number, inodes)
	}
	return inodes
}

// parseSockets reads lines "0: 0100007F:1A85 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 …".
func parseSockets(text, state string, number int, inodes map[string]bool) {
	suffix := fmt.Sprintf(":%04X", number)
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) > 9 && f[3] == state && strings.HasSuffix(f[1], suffix) {
			inodes["socket:["+f[9]+"]"] = true
		}
	}
}

func holdsSocket(pid int, inodes map[string]bool) bool {
	if len(inodes) == 0 {
		return false
	}
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	d, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return false
	}
	for _, n := range names {
		if target, err := os.Readlink(dir + "/" + n); err == nil && inodes[target] {
			return true
		}
	}
	return false
}
