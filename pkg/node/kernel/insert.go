package kernel

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// insert loads one file. A compressed one is given to the kernel, which may know how (Linux 5.17), and else
// decompressed here.
func insert(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open module: %w", err)
	}
	defer f.Close()
	extension := filepath.Ext(path)
	if extension == ".ko" {
		return unix.FinitModule(int(f.Fd()), "", 0)
	}
	err = unix.FinitModule(int(f.Fd()), "", unix.MODULE_INIT_COMPRESSED_FILE)
	if err == nil || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EPERM) {
		return err
	}
	image, err := decompress(f, extension)
	if err != nil {
		return err
	}
	return unix.InitModule(image, "")
}

func decompress(f io.ReadSeeker, extension string) ([]byte, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	var r io.Reader
	switch extension {
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, fmt.Errorf("decompress module: %w", err)
		}
		r = z
	case ".zst":
		z, err := zstd.NewReader(f)
		if err != nil {
			return nil, fmt.Errorf("decompress module: %w", err)
		}
		defer z.Close()
		r = z
	default:
		return nil, fmt.Errorf("decompress module: %s is not known here and the kernel refuses it; load the module by hand (modprobe)", extension)
	}
	image, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("decompress module: %w", err)
	}
	return image, nil
}
