package balancer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"kedge/pkg/durable"
)

// memory is the content of the file of remembered servers.
type memory struct {
	Servers []string `json:"servers"` // host:port
}

// recall reads the remembered servers; a missing file means none.
func recall(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read remembered servers: %w", err)
	}
	var m memory
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("decode %s: %w", file, err)
	}
	for _, address := range m.Servers {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("decode %s: %w", file, err)
		}
	}
	return m.Servers, nil
}

// remember replaces the file so that a power cut leaves the former or the new one.
func remember(file string, addresses []string) error {
	text, err := json.Marshal(memory{Servers: addresses})
	if err != nil {
		return fmt.Errorf("encode servers: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	return durable.Replace(file, append(text, '\n'))
}
