package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"kedge/tests/netns/space"
)

const connectLimit = time.Second

// serve answers every connection with the address that it came to.
func serve(pods *space.Space) error {
	return pods.Do(func() error {
		listener, err := net.Listen("tcp4", fmt.Sprintf(":%d", podPort))
		if err != nil {
			return fmt.Errorf("listen as pods: %w", err)
		}
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go func() {
					defer func() { _ = conn.Close() }()
					if address, ok := conn.LocalAddr().(*net.TCPAddr); ok {
						_, _ = conn.Write(address.IP.To4())
						_, _ = conn.Read(make([]byte, 1)) // until the client is content
					}
				}()
			}
		}()
		return nil
	})
}

// ask connects from the thread's namespace and returns which pod answered; the connection and the answer may take the limit each.
func ask(target string, limit time.Duration) (netip.Addr, error) {
	conn, err := net.DialTimeout("tcp4", target, limit)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // leaves no port in use
	}
	var answer [4]byte
	_ = conn.SetDeadline(time.Now().Add(limit))
	n, err := conn.Read(answer[:])
	if err == nil && n != len(answer) {
		err = errors.New("short answer")
	}
	if err != nil {
		return netip.Addr{}, fmt.Errorf("read the answer: %w", err)
	}
	return netip.AddrFrom4(answer), nil
}

func serviceTarget(number int) string {
	return netip.AddrPortFrom(clusterIP(number), servicePort).String()
}

func podTarget(a netip.Addr) string { return netip.AddrPortFrom(a, podPort).String() }
