package etcd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
)

// databaseTimeout bounds the wait for another process that has the file open.
const databaseTimeout = time.Second

// check finds what etcd would not report as an error, before it writes anything.
func check(cfg *embed.Config) error {
	return errors.Join(checkLogs(logDir(cfg)), checkDatabase(cfg.Dir))
}

// logDir is where the write-ahead log is.
func logDir(cfg *embed.Config) string {
	if cfg.WalDir != "" {
		return cfg.WalDir
	}
	return filepath.Join(cfg.Dir, "member", "wal")
}

// databaseFile is where keys and values are.
func databaseFile(dir string) string { return filepath.Join(dir, "member", "snap", "db") }

// checkLogs looks at the beginning of each file of the write-ahead log. It is written and synced before the file gets its
// name, so that no power cut explains damage there; etcd would take it for a torn end and cut the file off.
func checkLogs(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		return fmt.Errorf("list log files: %w", err)
	}
	var problems []error
	for _, file := range files {
		if err := checkLog(file); err != nil {
			problems = append(problems, fmt.Errorf("read log %s: its beginning is damaged: %w", file, err))
		}
	}
	return errors.Join(problems...)
}

func checkLog(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	var first walpb.Record
	if err := wal.NewDecoder(fileutil.NewFileReader(f)).Decode(&first); err != nil {
		return err
	}
	if first.Type != wal.CrcType {
		return fmt.Errorf("record of type %d", first.Type)
	}
	return nil
}

// checkDatabase looks whether the key-value file can be opened. etcd opens it in a goroutine of its own, and panics there
// when it cannot: nobody could make an error of that. Nothing is written; a file that does not exist yet is well.
func checkDatabase(dir string) error {
	return viewDatabase(dir, func(tx *bbolt.Tx, size int64) error {
		if want := tx.Size(); size < want {
			return fmt.Errorf("open database %s: it has %d of %d bytes", databaseFile(dir), size, want)
		}
		return nil
	})
}

// viewDatabase shows what the key-value file has and how long it is, unless it has nothing yet.
func viewDatabase(dir string, look func(tx *bbolt.Tx, size int64) error) error {
	file := databaseFile(dir)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 { // etcd makes it, and finishes one that it just made
		return nil
	}
	if err != nil {
		return fmt.Errorf("examine database: %w", err)
	}
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true, Timeout: databaseTimeout})
	if err != nil {
		return fmt.Errorf("open database %s: %w", file, err)
	}
	defer func() { _ = db.Close() }() // read only
	return db.View(func(tx *bbolt.Tx) error { return look(tx, info.Size()) })
}
