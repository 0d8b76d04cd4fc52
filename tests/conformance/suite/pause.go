package main

import (
	"archive/tar"
	"context"
	"fmt"
	"io"

	"kedge/embedded/payload"
)

// pause is the program that kedge itself starts in every pod.
func (l larder) pause(_ context.Context, t tree) error {
	archive, _, err := payload.PauseImage()
	if err != nil {
		return fmt.Errorf("open pause image: %w", err)
	}
	defer archive.Close()
	content, err := findPause(archive)
	if err != nil {
		return err
	}
	t.put("pause", tar.Header{Typeflag: tar.TypeReg, Mode: 0o755}, content)
	return nil
}

// findPause takes the program out of its image's archive, where the layer is a tar file that is not compressed.
func findPause(archive io.Reader) ([]byte, error) {
	for files := tar.NewReader(archive); ; {
		if _, err := files.Next(); err != nil {
			return nil, fmt.Errorf("find the pause program in its image: %w", err)
		}
		layer := tar.NewReader(files)
		if header, err := layer.Next(); err != nil || header.Name != "pause" {
			continue
		}
		content, err := io.ReadAll(layer)
		if err != nil {
			return nil, fmt.Errorf("read the pause program: %w", err)
		}
		return content, nil
	}
}
