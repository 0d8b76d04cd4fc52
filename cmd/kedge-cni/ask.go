package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"syscall"

	"kedge/pkg/network/cni/wire"
)

// answerSeconds bounds the wait for the process; the runtime tries again.
const answerSeconds = 60

// ask sends the request and returns the answer's result. It uses the system calls themselves: package net would double the program.
func ask(socket string, request wire.Request) (json.RawMessage, *wire.Error) {
	fd, err := connect(socket)
	if err != nil {
		return nil, unreachable(request.Command, socket, err)
	}
	conn := os.NewFile(uintptr(fd), socket)
	defer func() { _ = conn.Close() }()
	if err := json.NewEncoder(conn).Encode(request); err != nil {
		return nil, fail(wire.CodeAgain, "send the call to kedge at "+socket, err.Error())
	}
	if err := syscall.Shutdown(fd, syscall.SHUT_WR); err != nil {
		return nil, fail(wire.CodeAgain, "end the call to kedge at "+socket, err.Error())
	}
	raw, err := io.ReadAll(conn)
	if err != nil {
		return nil, fail(wire.CodeAgain, "read kedge's answer from "+socket, err.Error())
	}
	if len(raw) == 0 {
		return nil, fail(wire.CodeAgain, "kedge ended before it answered at "+socket, "it is restarting; the call is repeated")
	}
	var response wire.Response
	if err := json.Unmarshal(raw, &response); err != nil {
		return nil, fail(wire.CodeDecode, "decode kedge's answer from "+socket, err.Error())
	}
	return response.Result, response.Error
}

func connect(socket string) (int, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	limit := syscall.Timeval{Sec: answerSeconds}
	for _, option := range []int{syscall.SO_RCVTIMEO, syscall.SO_SNDTIMEO} {
		if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, option, &limit); err != nil {
			_ = syscall.Close(fd)
			return -1, err
		}
	}
	for { // with a limit, a signal ends connect(2) in the midst of its wait for a place in the queue (signal(7)); Go's runtime sends them
		if err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket}); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

func unreachable(command, socket string, err error) *wire.Error {
	code := wire.CodeAgain
	if command == "STATUS" {
		code = wire.CodeUnavailable
	}
	found := err.Error()
	if errors.Is(err, syscall.ENOENT) {
		found = "there is no socket" // containerd takes the system's words on DEL for "already gone"
	}
	return fail(code, "reach kedge at "+socket+": "+found, "kedge is not running or still starting; the call is repeated")
}
