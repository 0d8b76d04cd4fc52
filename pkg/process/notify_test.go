package process

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	notify := TakeNotifySocket()
	if value, ok := os.LookupEnv("NOTIFY_SOCKET"); ok {
		t.Errorf("NOTIFY_SOCKET=%s is left to the kubelet", value)
	}
	if err := notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := conn.Read(b) // a datagram on a Unix socket has arrived when it was sent
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("received %q, error %v", b[:n], err)
	}
	conn.Close()
	if err := notify("READY=1"); err == nil || !strings.HasPrefix(err.Error(), "connect to NOTIFY_SOCKET: ") {
		t.Errorf("error without a listener: %v", err)
	}
}

func TestNotifyNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := TakeNotifySocket()("READY=1"); err != nil {
		t.Error(err)
	}
}
