package registries

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// relay is the HTTP server between containerd and the endpoints that it cannot talk to by itself.
type relay struct {
	listener  net.Listener
	address   relayAddress
	upstreams []*upstream // by number
	log       *slog.Logger
}

// listen takes a free port of the loopback interface. Other users of the machine reach it too: hence the secret.
func listen(log *slog.Logger) (*relay, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for containerd's requests to registries: %w", err)
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make secret of relay: %w", err)
	}
	return &relay{listener: l, address: relayAddress{base: "http://" + l.Addr().String(), key: key}, log: log}, nil
}

func (r *relay) server() *http.Server {
	return &http.Server{Handler: r, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(r.log.Handler(), slog.LevelDebug)}
}

// ServeHTTP answers /<number>/v2/<repository>/<manifests|blobs|referrers|tags>/…
func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	number, path, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), apiRoot)
	id, err := strconv.Atoi(number)
	if err != nil || id < 0 || id >= len(r.upstreams) {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "no such registry")
		return
	}
	if subtle.ConstantTimeCompare([]byte(req.Header.Get(secretHeader)), []byte(r.address.secret(id))) != 1 {
		refuse(w, http.StatusForbidden, "DENIED", "only containerd may ask here")
		return
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "images can only be pulled here")
		return
	}
	repository, rest, ok := split(path)
	if !ok {
		refuse(w, http.StatusNotFound, "NAME_INVALID", "not a request for an image")
		return
	}
	r.upstreams[id].serve(w, req, repository, rest)
}

// split separates the repository's name, which has slashes of its own, from what is asked of it.
func split(path string) (repository, rest string, ok bool) {
	for _, kind := range []string{"/manifests/", "/blobs/", "/referrers/", "/tags/"} {
		if i := strings.LastIndex(path, kind); i > 0 {
			return strings.Trim(path[:i], "/"), path[i:], true
		}
	}
	return "", "", false
}

// refuse answers as the distribution API does.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%s,"message":%s}]}`, quote(code), quote(message))
}
