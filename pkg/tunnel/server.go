package tunnel

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// perNode is how many tunnels of one node are kept: it may know a server under two names, and come again before its former
// connection is known to be dead.
const perNode = 4

// ServerConfig of a server's end. All fields are required.
type ServerConfig struct {
	Node string // the node of this process, which is always reached directly
	Log  *slog.Logger
}

// Server is an API server's end of all tunnels.
type Server struct {
	cfg     ServerConfig
	started time.Time

	mu       sync.Mutex
	closed   bool
	sessions map[string][]*session // by node, the oldest first
	lost     map[string]time.Time  // when a node's last tunnel ended
	arrived  chan struct{}         // closed when the next tunnel is there
}

// NewServer returns a server without tunnels.
func NewServer(cfg ServerConfig) *Server {
	return &Server{
		cfg: cfg, started: time.Now(),
		sessions: map[string][]*session{}, lost: map[string]time.Time{}, arrived: make(chan struct{}),
	}
}

// Close ends all tunnels and refuses new ones.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	var all []*session
	for _, list := range s.sessions {
		all = append(all, list...)
	}
	s.mu.Unlock()
	for _, session := range all {
		session.close()
	}
}

// Accept upgrades the request of a node, which the caller has authenticated and authorized, to a tunnel, which lives on when Accept
// returns, at most until the given time: that is when the node's certificate expires.
func (s *Server) Accept(w http.ResponseWriter, r *http.Request, node string, until time.Time) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), protocol) {
		w.Header().Set("Upgrade", protocol)
		http.Error(w, "this path is for the tunnels of nodes, protocol "+protocol, http.StatusUpgradeRequired)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "take over connection: "+err.Error(), http.StatusHTTPVersionNotSupported)
		return
	}
	if err := s.upgrade(conn, buffered, node, until, r); err != nil {
		_ = conn.Close()
		s.cfg.Log.Warn("tunnel of a node was not opened", "node", node, "error", err)
	}
}

// upgrade answers the request and makes a session of its connection.
func (s *Server) upgrade(conn net.Conn, buffered *bufio.ReadWriter, node string, until time.Time, r *http.Request) error {
	if buffered.Reader.Buffered() > 0 {
		return errors.New("read request: more came than the request")
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear deadlines: %w", err)
	}
	if err := harden(conn); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol); err != nil {
		return fmt.Errorf("answer request: %w", err)
	}
	session, err := newSession(r.Context(), conn, node, s.remove)
	if err != nil {
		return err
	}
	if !s.add(session, until) {
		session.close()
		return errors.New("register tunnel: the API server stops or the connection is gone")
	}
	s.cfg.Log.Debug("tunnel of a node is open", "node", node, "from", conn.RemoteAddr())
	return nil
}

// add registers a session and ends the oldest ones when a node has too many.
func (s *Server) add(added *session, until time.Time) bool {
	s.mu.Lock()
	if s.closed || added.http.Err() != nil {
		s.mu.Unlock()
		return false
	}
	added.expiry = time.AfterFunc(time.Until(until), added.close)
	list := append(slices.Clone(s.sessions[added.node]), added)
	s.sessions[added.node] = list
	close(s.arrived)
	s.arrived = make(chan struct{})
	s.mu.Unlock()
	for len(list) > perNode {
		list[0].close()
		list = list[1:]
	}
	return true
}

func (s *Server) remove(old *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old.expiry != nil {
		old.expiry.Stop()
	}
	list := slices.DeleteFunc(slices.Clone(s.sessions[old.node]), func(x *session) bool { return x == old })
	if len(list) == 0 {
		delete(s.sessions, old.node)
		s.lost[old.node] = time.Now()
		return
	}
	s.sessions[old.node] = list
}

// newest returns a node's sessions, the newest first, and a channel that is closed when the next session of any node is there.
func (s *Server) newest(node string) ([]*session, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.sessions[node])
	slices.Reverse(list)
	return list, s.arrived
}
