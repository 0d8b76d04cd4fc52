package payload

import (
	"io"
	"path/filepath"
	"strconv"
	"testing"
)

func benchmarkStore(b *testing.B) store {
	b.Helper()
	s, err := open(data)
	if err != nil {
		b.Skip(err)
	}
	return s
}

func BenchmarkExtractFresh(b *testing.B) {
	s, dir := benchmarkStore(b), b.TempDir()
	for i := 0; b.Loop(); i++ {
		if err := s.extract(filepath.Join(dir, strconv.Itoa(i))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExtractUnchanged(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		if err := benchmarkStore(b).extract(dir); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecompress is the share of BenchmarkExtractFresh that no disk can shorten.
func BenchmarkDecompress(b *testing.B) {
	s := benchmarkStore(b)
	for b.Loop() {
		for _, name := range s.programs() {
			r, err := s.reader(name)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				b.Fatal(err)
			}
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
