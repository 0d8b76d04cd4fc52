package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"kedge/tests/conformance/suite/registry"
)

// serve runs a registry with the archive's images until the context ends.
func serve(ctx context.Context, address, file string, out io.Writer) error {
	archive, err := registry.Open(file)
	if err != nil {
		return err
	}
	defer archive.Close()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen for pulls: %w", err)
	}
	fmt.Fprintf(out, "%d image names at http://%s\n", len(archive.Names()), listener.Addr())
	server := &http.Server{Handler: archive, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve images: %w", err)
	}
	return nil
}
