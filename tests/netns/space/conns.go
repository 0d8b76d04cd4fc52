package space

import (
	"net"
	"sync"
)

// conns are the open connections of a server.
type conns struct {
	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
}

func newConns() *conns { return &conns{open: map[net.Conn]bool{}} }

func (c *conns) add(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = conn.Close()
		return false
	}
	c.open[conn] = true
	return true
}

func (c *conns) drop(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
	_ = conn.Close()
}

func (c *conns) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.open {
		_ = conn.Close()
	}
}
