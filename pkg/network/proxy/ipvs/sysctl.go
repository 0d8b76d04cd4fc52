package ipvs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// setting is a parameter of IPVS in the network namespace, open so that any thread can read and write it.
type setting struct {
	file  *os.File
	value string
}

type parameter struct {
	name, value string
	optional    bool // kernels without it do no harm
}

// parameters are below /proc/sys/net/ipv4/vs (Documentation/networking/ipvs-sysctl.rst).
func parameters() []parameter {
	return []parameter{
		// Connections are tracked as others are: without it the kernel does not replace source addresses.
		{name: "conntrack", value: "1"},
		// A client that uses a port again gets a new decision, not the endpoint of its former connection, which may be gone. See
		// timeouts for what it needs of connection tracking.
		{name: "conn_reuse_mode", value: "1"},
		// A connection to a removed endpoint ends at once: it is reset, and UDP goes to another endpoint, not nowhere.
		{name: "expire_nodest_conn", value: "1"},
		// A client with affinity to an endpoint that drains gets another one, and is not led to the draining one for ever.
		{name: "expire_quiescent_template", value: "1"},
		// Nobody reads rates; counting them for every endpoint every two seconds costs an idle node its rest (Linux 6.2).
		{name: "run_estimation", value: "0", optional: true},
	}
}

// openSettings opens the parameters of the calling thread's network namespace.
func openSettings() ([]setting, error) {
	var all []setting
	for _, p := range parameters() {
		f, err := os.OpenFile("/proc/sys/net/ipv4/vs/"+p.name, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) && p.optional {
			continue
		}
		if err != nil {
			closeSettings(all)
			return nil, fmt.Errorf("open IPVS parameter (is the kernel built with CONFIG_IP_VS_NFCT?): %w", err)
		}
		all = append(all, setting{f, p.value})
	}
	return all, nil
}

// ensure gives the parameter its value and tells whether it had another one.
func (s setting) ensure() (bool, error) {
	b := make([]byte, 32)
	n, err := s.file.ReadAt(b, 0)
	if n == 0 {
		return false, fmt.Errorf("read IPVS parameter %s: %w", s.file.Name(), err)
	}
	if strings.TrimSpace(string(b[:n])) == s.value {
		return false, nil
	}
	if _, err := s.file.WriteAt([]byte(s.value), 0); err != nil {
		return false, fmt.Errorf("set IPVS parameter %s to %s: %w", s.file.Name(), s.value, err)
	}
	return true, nil
}

func closeSettings(all []setting) {
	for _, s := range all {
		_ = s.file.Close() // nothing is buffered
	}
}
