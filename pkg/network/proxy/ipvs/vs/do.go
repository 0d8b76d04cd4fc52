package vs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// flagsOffset is where a message has its flags (struct nlmsghdr, netlink(7)).
const flagsOffset = 6

// Failure is a request that the kernel refused.
type Failure struct {
	Request
	Err error // a unix.Errno, or that the kernel could not be asked
}

func (f Failure) Error() string { return f.String() + ": " + f.Err.Error() }

func (f Failure) Unwrap() error { return f.Err }

// Do makes the changes in order and returns those that failed; the others are done.
func (c *Conn) Do(requests []Request) []Failure {
	var failures []Failure
	for len(requests) > 0 {
		n, failed := c.batch(requests)
		failures = append(failures, failed...)
		requests = requests[n:]
	}
	return failures
}

// batch makes as many of the changes as fit into one message.
func (c *Conn) batch(requests []Request) (int, []Failure) {
	b, n := c.batched[:0], 0
	first := c.seq + 1
	for ; n < len(requests) && len(b) < batchBytes; n++ {
		start := len(b)
		b = c.message(b, requests[n].command, 0, requests[n].encode)
		if n == len(requests)-1 || len(b) >= batchBytes {
			binary.NativeEndian.PutUint16(b[start+flagsOffset:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
		}
	}
	c.batched = b
	errs := map[uint32]error{}
	err := c.send(b)
	if err == nil {
		err = c.receive(uint32(n), func(seq uint32, kind uint16, body []byte) (bool, error) {
			if kind != unix.NLMSG_ERROR {
				return false, nil
			}
			if err := status(body); err != nil {
				errs[seq] = err
			}
			return seq == c.seq, nil
		})
	}
	var failures []Failure
	for i, r := range requests[:n] {
		if e := errs[first+uint32(i)]; e != nil || err != nil {
			failures = append(failures, Failure{r, errors.Join(e, err)})
		}
	}
	return n, failures
}

// SetTimeouts sets how long an idle TCP connection is remembered.
func (c *Conn) SetTimeouts(tcp time.Duration) error {
	b := c.message(nil, cmdSetConfig, unix.NLM_F_ACK, func(b []byte) []byte {
		for i, t := range []time.Duration{tcp, 0, 0} { // TCP, TCP after FIN, UDP; 0 changes nothing
			b = put32(b, attrTimeoutTCP+uint16(i), uint32(t.Seconds()))
		}
		return b
	})
	err := c.send(b)
	if err == nil {
		err = c.receive(1, func(_ uint32, _ uint16, body []byte) (bool, error) { return true, status(body) })
	}
	if err != nil {
		return fmt.Errorf("set IPVS timeout of TCP to %v: %w", tcp, err)
	}
	return nil
}
