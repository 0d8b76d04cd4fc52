package etcd

import (
	"errors"
	"fmt"
	"log/slog"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"

	"kedge/pkg/logging"
)

// commitAll declares every entry of the log as committed. A follower learns that an entry is committed only after the leader has
// acknowledged it to a client; a new cluster of this member alone would cut off what it does not know to be committed, and
// with it writes that were acknowledged. Entries that were not are kept as well, which does no harm.
func commitAll(cfg *embed.Config, log *slog.Logger) (err error) {
	dir := logDir(cfg)
	zap := logging.Zap(log, "etcd")
	snapshots, err := wal.ValidSnapshotEntries(zap, dir)
	if err != nil {
		return fmt.Errorf("read the log's snapshots: %w", err)
	}
	var newest walpb.Snapshot
	if len(snapshots) > 0 {
		newest = snapshots[len(snapshots)-1]
	}
	w, err := wal.Open(zap, dir, newest)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer func() { err = errors.Join(err, w.Close()) }() // syncs
	_, state, entries, err := w.ReadAll()
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	if len(entries) == 0 || entries[len(entries)-1].Index <= state.Commit {
		return nil
	}
	state.Commit = entries[len(entries)-1].Index
	if err := w.Save(raftpb.HardState{Term: state.Term, Vote: state.Vote, Commit: state.Commit}, nil); err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	return nil
}
