package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// manifestName is the file beside the programs that remembers what was unpacked.
const manifestName = ".payload.json"

// mark ties a program's content to the file it was unpacked into. A file that still has its mark was not
// written, replaced or given another mode since; reading it again is not needed.
type mark struct {
	SHA256  string `json:"sha256"`
	Inode   uint64 `json:"inode"`
	Size    int64  `json:"size"`
	Changed int64  `json:"changed"` // the inode's change time, nanoseconds since 1970: nobody can set it back
}

func markOf(path, sha256 string) (mark, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return mark{}, fmt.Errorf("inspect program: %w", &os.PathError{Op: "lstat", Path: path, Err: err})
	}
	return mark{SHA256: sha256, Inode: stat.Ino, Size: stat.Size, Changed: stat.Ctim.Nano()}, nil
}

// readManifest returns what is remembered about dir; a manifest that is missing or damaged remembers nothing.
func readManifest(dir string) map[string]mark {
	raw, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return nil
	}
	var seen map[string]mark
	if json.Unmarshal(raw, &seen) != nil {
		return nil
	}
	return seen
}

// record remembers the programs that are in dir now. It is not flushed to disk: a manifest that a power cut
// takes away costs one more unpacking.
func (s store) record(dir string) error {
	seen := map[string]mark{}
	for _, name := range s.programs() {
		m, err := markOf(filepath.Join(dir, name), s.index[name].SHA256)
		if err != nil {
			return err
		}
		seen[name] = m
	}
	var raw bytes.Buffer
	if err := json.NewEncoder(&raw).Encode(seen); err != nil {
		return fmt.Errorf("encode manifest of programs: %w", err)
	}
	path := filepath.Join(dir, manifestName)
	temporary := path + ".new"
	if err := os.WriteFile(temporary, raw.Bytes(), 0o644); err != nil {
		return errors.Join(fmt.Errorf("write manifest of programs: %w", err), os.Remove(temporary))
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("replace manifest of programs: %w", err)
	}
	return nil
}
