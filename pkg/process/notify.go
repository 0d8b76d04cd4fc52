package process

import (
	"fmt"
	"net"
	"os"
)

// TakeNotifySocket removes NOTIFY_SOCKET from the environment, because the kubelet would report readiness on its own,
// and returns a function that sends a state as sd_notify(3) does. Without the variable it sends nothing.
func TakeNotifySocket() func(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return func(string) error { return nil }
	}
	os.Unsetenv("NOTIFY_SOCKET") // fails only for an empty name
	return func(state string) error {
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			return fmt.Errorf("connect to NOTIFY_SOCKET: %w", err)
		}
		defer conn.Close() // a datagram is sent or not
		if _, err := conn.Write([]byte(state)); err != nil {
			return fmt.Errorf("write to NOTIFY_SOCKET: %w", err)
		}
		return nil
	}
}
