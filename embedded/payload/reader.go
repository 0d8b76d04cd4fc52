package payload

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// window bounds what a reader allocates; zstd -19 uses a window of 8 MiB.
const window = 8 << 20

// reader opens the uncompressed stream of a file of the payload.
func (s store) reader(name string) (io.ReadCloser, error) {
	file, err := s.files.Open(name + ".zst")
	if err != nil {
		return nil, fmt.Errorf("open payload: %w", err)
	}
	// One goroutine: the files are unpacked beside one another, and a start has other work for every core.
	decoder, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open compressed payload %s: %w", name, err), file.Close())
	}
	return reader{Decoder: decoder, file: file}, nil
}

type reader struct {
	*zstd.Decoder
	file io.Closer
}

func (r reader) Close() error {
	r.Decoder.Close()
	return r.file.Close()
}
