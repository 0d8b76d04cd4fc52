package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

// serve answers, over HTTP and in UDP datagrams, who asks and who answers:
//
//	/client    the client's address as the server sees it
//	/server    the address that the client asked
//	/hostname  the server's host name
//	/echo      the body
//	/healthz   200, or 503 between /sick and /well
//
// A datagram is the same word without the slash; any other is sent back.
func serve(port string) error {
	packets, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		return err
	}
	go datagrams(packets)
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	var sick atomic.Bool
	answer := func(path string, text func(*http.Request) string) {
		http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, text(r)) })
	}
	answer("/client", func(r *http.Request) string { return address(r.RemoteAddr) })
	answer("/server", func(r *http.Request) string {
		return address(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
	})
	answer("/hostname", func(*http.Request) string { return host })
	answer("/sick", func(*http.Request) string { sick.Store(true); return "sick" })
	answer("/well", func(*http.Request) string { sick.Store(false); return "well" })
	http.HandleFunc("/echo", echo)
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			http.Error(w, "sick", http.StatusServiceUnavailable)
		}
	})
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	fmt.Println("serving on", port)
	go func() {
		<-stopped()
		os.Exit(0)
	}()
	return http.Serve(l, nil)
}

func datagrams(c net.PacketConn) {
	host, _ := os.Hostname()
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		reply := buf[:n]
		switch string(reply) {
		case "client":
			reply = []byte(address(from.String()))
		case "hostname":
			reply = []byte(host)
		}
		_, _ = c.WriteTo(reply, from)
	}
}

// address cuts the port off and writes IPv4 as IPv4.
func address(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip.String()
	}
	return host
}

// echo reads all before it answers: a client that sends first would wait for a server that answers meanwhile.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = w.Write(body)
}
