package etcd

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

const self = 7 // a member's identity

// birth is a log as etcd writes it, and a database that has applied so many entries.
type birth struct {
	name     string
	state    raftpb.HardState
	entries  []raftpb.Entry
	snapshot uint64 // of the log
	applied  uint64
	damage   func([]byte) []byte // of the log's file
	stays    bool
}

func addition(t *testing.T, id uint64) raftpb.Entry {
	t.Helper()
	change := raftpb.ConfChange{Type: raftpb.ConfChangeAddNode, NodeID: id}
	data, err := change.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raftpb.Entry{Type: raftpb.EntryConfChange, Term: 1, Index: 1, Data: data}
}

func births(t *testing.T) []birth {
	t.Helper()
	mine, other := []raftpb.Entry{addition(t, self)}, []raftpb.Entry{addition(t, 8)}
	more := append(mine, raftpb.Entry{Term: 2, Index: 2, Data: []byte("a write")})
	term := raftpb.HardState{Term: 1}
	return []birth{
		{name: "nothing but its beginning"},
		{name: "member not committed", entries: mine},
		{name: "member and term", entries: mine, state: term},
		{name: "member not committed, but applied", entries: mine, applied: 1},
		{name: "torn entry", entries: mine, damage: func(b []byte) []byte { return b[:len(b)-20] }},
		{name: "member committed", entries: mine, state: raftpb.HardState{Term: 1, Commit: 1}, stays: true},
		{name: "another's cluster", entries: other, stays: true},
		{name: "a write", entries: more, state: term, stays: true},
		{name: "a snapshot", snapshot: 1000, stays: true},
		{name: "a database with data", applied: 2, stays: true},
		{name: "data behind damage", stays: true, damage: func(b []byte) []byte {
			return append(append(b, make([]byte, 2*birthBytes)...), "an entry"...)
		}},
		{name: "damage at the beginning", entries: mine, stays: true, damage: func(b []byte) []byte {
			b[20] ^= 1
			return b
		}},
	}
}

// write makes the files.
func (b birth) write(t *testing.T, dir string) {
	t.Helper()
	meta := etcdserverpb.Metadata{NodeID: self, ClusterID: 9}
	metadata, err := meta.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	logs := filepath.Join(dir, "member", "wal")
	w, err := wal.Create(zap.NewNop(), logs, metadata)
	if err != nil {
		t.Fatal(err)
	}
	if b.snapshot > 0 {
		err = w.SaveSnapshot(walpb.Snapshot{Index: b.snapshot, Term: 1, ConfState: &raftpb.ConfState{Voters: []uint64{self}}})
	}
	if err == nil {
		err = w.Save(b.state, b.entries)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if b.damage != nil {
		file := filepath.Join(logs, "0000000000000000-0000000000000000.wal")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, file, b.damage([]byte(strings.TrimRight(string(text), "\x00"))))
	}
	if err := os.MkdirAll(filepath.Join(dir, "member", "snap"), 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(databaseFile(dir), 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("meta"))
		if err != nil || b.applied == 0 {
			return err
		}
		return bucket.Put([]byte("consistent_index"), binary.BigEndian.AppendUint64(nil, b.applied))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRemoveUnborn: what a start left that was killed before the member existed is removed, so that the next one begins anew;
// everything else stays as it is.
func TestRemoveUnborn(t *testing.T) {
	c := member(t)
	for _, b := range births(t) {
		t.Run(b.name, func(t *testing.T) {
			c := c
			c.Dir = filepath.Join(t.TempDir(), "db")
			b.write(t, c.Dir)
			before := tree(t, c.Dir)
			if err := c.RemoveUnborn(); err != nil {
				t.Fatal(err)
			}
			if b.stays {
				if diff := cmp.Diff(before, tree(t, c.Dir)); diff != "" {
					t.Errorf("files were changed (-before +after):\n%s", diff)
				}
				return
			}
			for _, dir := range []string{"wal", "snap"} {
				if _, err := os.Stat(filepath.Join(c.Dir, "member", dir)); !os.IsNotExist(err) {
					t.Errorf("%s is still there: %v", dir, err)
				}
			}
			if err := live(t, c); err != nil {
				t.Errorf("start after that: %v", err)
			}
			before = tree(t, c.Dir)
			if err := c.RemoveUnborn(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, tree(t, c.Dir)); diff != "" {
				t.Errorf("files of a member that has started were changed (-before +after):\n%s", diff)
			}
		})
	}
}
