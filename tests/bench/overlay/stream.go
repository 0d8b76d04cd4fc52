package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kedge/tests/host"
)

const (
	chunk   = 256 << 10 // bytes of one write of a stream
	message = 64        // bytes of one message
	warmUp  = 1000      // messages that are not counted
)

// measure sends a stream and then messages from the first host to an address of the second.
func measure(hosts []*host.Host, address string, o options) (gigabits, micros float64, err error) {
	listener, err := hosts[1].Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return 0, 0, err
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() { served <- serve(listener) }()
	target := listener.Addr().String()
	if gigabits, err = stream(hosts[0], target, o.stream); err != nil {
		return 0, 0, fmt.Errorf("stream: %w", errors.Join(err, <-served))
	}
	if micros, err = pingPong(hosts[0], target, o.pings); err != nil {
		return 0, 0, fmt.Errorf("ping-pong: %w", errors.Join(err, <-served))
	}
	return gigabits, micros, <-served
}

// serve takes a stream, whose length it answers at the end, and then echoes messages.
func serve(l net.Listener) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	total := uint64(0)
	for buffer := make([]byte, chunk); ; {
		n, err := conn.Read(buffer)
		total += uint64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := binary.Write(conn, binary.BigEndian, total); err != nil {
		return err
	}
	echo, err := l.Accept()
	if err != nil {
		return err
	}
	defer echo.Close()
	for buffer := make([]byte, message); ; {
		if _, err := io.ReadFull(echo, buffer); err != nil {
			return nil //nolint:nilerr // the client has ended
		}
		if _, err := echo.Write(buffer); err != nil {
			return err
		}
	}
}

// stream sends for a while and returns Gbit/s, counted until everything has arrived.
func stream(h *host.Host, target string, length time.Duration) (float64, error) {
	conn, err := dial(h, target)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	begin := time.Now()
	for buffer := make([]byte, chunk); time.Since(begin) < length; {
		if _, err := conn.Write(buffer); err != nil {
			return 0, err
		}
	}
	if err := conn.CloseWrite(); err != nil {
		return 0, err
	}
	var total uint64
	if err := binary.Read(conn, binary.BigEndian, &total); err != nil {
		return 0, err
	}
	return float64(total) * 8 / 1e9 / time.Since(begin).Seconds(), nil
}

// pingPong returns the mean round trip of a message in µs.
func pingPong(h *host.Host, target string, count int) (float64, error) {
	conn, err := dial(h, target)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	buffer := make([]byte, message)
	begin := time.Now()
	for i := range warmUp + count {
		if i == warmUp {
			begin = time.Now()
		}
		if _, err := conn.Write(buffer); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(conn, buffer); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(begin).Microseconds()) / float64(count), nil
}

// dial connects with cubic: the machine's default may be another, which holds back links like these.
func dial(h *host.Host, target string) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", target)
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("connection to %s is no TCP connection", target)
	}
	raw, err := tcp.SyscallConn()
	if err == nil {
		var failed error
		err = raw.Control(func(fd uintptr) {
			failed = syscall.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
		})
		err = errors.Join(err, failed)
	}
	if err != nil {
		return nil, fmt.Errorf("choose cubic: %w", err)
	}
	return tcp, nil
}
