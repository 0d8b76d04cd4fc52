package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"kedge/tests/conformance/suite/registry"
	"kedge/tests/host"
)

// registryAddress is where each node finds the images again.
const registryAddress = "127.0.0.1:5001"

// registryServer is a registry on a node's loopback.
type registryServer struct {
	archive *registry.Archive
	http    *http.Server
}

// serveRegistry serves the images of an archive on a host's loopback.
func serveRegistry(h *host.Host, file string) (*registryServer, error) {
	archive, err := registry.Open(file)
	if err != nil {
		return nil, err
	}
	listener, err := h.Listen("tcp", registryAddress)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for the registry: %w", err), archive.Close())
	}
	server := &http.Server{Handler: archive, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(listener) //nolint:errcheck // ends with Close
	return &registryServer{archive, server}, nil
}

// Close ends the registry.
func (r *registryServer) Close() error { return errors.Join(r.http.Close(), r.archive.Close()) }
