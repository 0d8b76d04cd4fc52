package etcd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
)

// birthBytes is more than a log has when its first entry, the member itself, is committed.
const birthBytes = 4096

// RemoveUnborn removes what a first start has left that was killed after it had made the log and before it had written to it
// that the member exists. etcd would take the log for that of a member, find a cluster without members in it, and wait for a
// leader for ever. Nothing was acknowledged by then. Whatever has a snapshot, more of a log or data stays.
func (c Config) RemoveUnborn() error {
	if c.Reset {
		return nil
	}
	cfg, err := c.embed()
	if err != nil {
		return err
	}
	dir := logDir(cfg)
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(files) != 1 {
		return err
	}
	log, err := unborn(files[0])
	if err != nil {
		return fmt.Errorf("read log %s: %w", files[0], err)
	}
	if !log {
		return nil
	}
	applied, err := appliedIndex(c.Dir)
	if err != nil || applied > 1 { // the database is damaged, which the start reports, or does not belong to this log
		return nil //nolint:nilerr // see above
	}
	c.Log.Info("the datastore's first start was interrupted before it had any data: it begins anew", "component", "etcd", "dir", c.Dir)
	if err := removeDatabase(c.Dir); err != nil {
		return fmt.Errorf("remove the datastore's unfinished database: %w", err)
	}
	// At once: a directory without a log in it would be neither a member nor none. etcd removes what has the new name.
	if err := os.Rename(dir, dir+".tmp"); err != nil {
		return fmt.Errorf("remove the datastore's unfinished log: %w", err)
	}
	return nil
}

// removeDatabase comes before the removal of the log, also on the disk: without a log nobody would look at it again.
func removeDatabase(dir string) (err error) {
	if err := os.RemoveAll(filepath.Dir(databaseFile(dir))); err != nil {
		return err
	}
	parent, err := fileutil.OpenDir(filepath.Join(dir, "member"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parent.Close()) }()
	return fileutil.Fsync(parent)
}

// unborn tells whether a log says of no member that it exists: it is empty but for what every log begins with, and maybe for the
// entry that adds the member itself, not committed.
func unborn(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // read only
	decoder := wal.NewDecoder(fileutil.NewFileReader(f))
	var self uint64
	made := false // all that etcd writes and syncs before the log gets its name is there
	for {
		var r walpb.Record
		err := decoder.Decode(&r)
		if made && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) { // the latter is a record that was not finished
			return zeros(f, birthBytes)
		}
		if err != nil { // damage, which the start reports
			return false, nil //nolint:nilerr // see above
		}
		switch r.Type {
		case wal.CrcType:
			decoder.UpdateCRC(r.Crc)
		case wal.MetadataType:
			var m etcdserverpb.Metadata
			if err := m.Unmarshal(r.Data); err != nil {
				return false, fmt.Errorf("decode metadata: %w", err)
			}
			self = m.NodeID
		case wal.SnapshotType:
			var s walpb.Snapshot
			if err := s.Unmarshal(r.Data); err != nil || s.Index > 0 {
				return false, err
			}
			made = true
		case wal.EntryType:
			if adds, err := addsItself(r.Data, self); err != nil || !adds {
				return false, err
			}
		case wal.StateType:
			var s raftpb.HardState
			if err := s.Unmarshal(r.Data); err != nil || s.Commit > 0 {
				return false, err
			}
		default:
			return false, nil
		}
	}
}

// addsItself tells whether an entry is the one with which a cluster of one member begins.
func addsItself(data []byte, self uint64) (bool, error) {
	var e raftpb.Entry
	if err := e.Unmarshal(data); err != nil {
		return false, fmt.Errorf("decode entry: %w", err)
	}
	if e.Index != 1 || e.Type != raftpb.EntryConfChange {
		return false, nil
	}
	var change raftpb.ConfChange
	if err := change.Unmarshal(e.Data); err != nil {
		return false, fmt.Errorf("decode change of members: %w", err)
	}
	return change.Type == raftpb.ConfChangeAddNode && change.NodeID == self, nil
}

// zeros tells whether a file has nothing but zeros from an offset on: damage at the beginning of a log does not make it empty.
func zeros(f *os.File, offset int64) (bool, error) {
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return false, err
	}
	buffer, zero := make([]byte, 1<<16), make([]byte, 1<<16)
	for {
		n, err := f.Read(buffer)
		if !bytes.Equal(buffer[:n], zero[:n]) {
			return false, nil
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// appliedIndex is the last entry that the database has; 0 if there is none.
func appliedIndex(dir string) (index uint64, err error) {
	defer func() {
		if r := recover(); r != nil { // so bbolt reports some damage
			err = fmt.Errorf("%v", r)
		}
	}()
	err = viewDatabase(dir, func(tx *bbolt.Tx, _ int64) error {
		if meta := tx.Bucket(schema.Meta.Name()); meta != nil {
			if value := meta.Get(schema.MetaConsistentIndexKeyName); len(value) == 8 {
				index = binary.BigEndian.Uint64(value)
			}
		}
		return nil
	})
	return index, err
}
