package main

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// writeTar archives the regular files below dir in lexical order, without times and owners.
func writeTar(out io.Writer, dir string) error {
	w := tar.NewWriter(out)
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: int64(len(content)), Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err != nil {
		return fmt.Errorf("archive layout: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("finish archive: %w", err)
	}
	return nil
}
