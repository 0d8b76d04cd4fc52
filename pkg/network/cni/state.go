package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kedge/pkg/network/cni/wire"
)

// attachment is the record of one interface of one pod.
type attachment struct {
	Sequence    uint64             `json:"sequence"` // counts up; the newest pod wins a host port
	ContainerID string             `json:"containerID"`
	IfName      string             `json:"ifName"`
	Pod         string             `json:"pod,omitempty"` // namespace/name, for people
	Netns       string             `json:"netns"`
	HostLink    string             `json:"hostLink"`
	MAC         string             `json:"mac"`
	Addresses   []netip.Addr       `json:"addresses"`
	Ports       []wire.PortMapping `json:"ports,omitempty"`
}

func (a *attachment) key() string { return attachmentKey(a.ContainerID, a.IfName) }

func attachmentKey(containerID, ifName string) string { return containerID + "/" + ifName }

// remembered is what a restart needs before the API server can be asked.
type remembered struct {
	PodCIDRs  []netip.Prefix `json:"podCIDRs"`
	Addresses []netip.Addr   `json:"addresses"` // added to lo
	// Sysctls are the former values of kernel parameters that kedge changed during the boot Boot.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	Boot    string            `json:"boot,omitempty"`
}

// next is what to remember when the network is set up with these CIDRs, addresses and settings. Addresses that are no longer
// wanted and parameters that are changed for the first time in this boot are in it, so that nothing is lost by a crash in between.
func (r remembered) next(cidrs []netip.Prefix, own []netip.Addr, settings []setting, boot string) remembered {
	changed := differing(settings)
	if r.Boot == boot {
		maps.Copy(changed, r.Sysctls)
	}
	all := slices.Clone(own)
	for _, a := range r.Addresses {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return remembered{PodCIDRs: cidrs, Addresses: all, Sysctls: changed, Boot: boot}
}

// store keeps one small file per attachment and one for the rest. A file appears whole or not at all.
// Files are not synced: after a power cut every pod is gone, so that a lost or empty record is right.
type store struct{ dir string }

func (s store) pods() string                 { return filepath.Join(s.dir, "pods") }
func (s store) network() string              { return filepath.Join(s.dir, "network.json") }
func (s store) file(hostLink string) string  { return filepath.Join(s.pods(), hostLink+".json") }
func (s store) save(a *attachment) error     { return writeJSON(s.file(a.HostLink), a) }
func (s store) remember(r remembered) error  { return writeJSON(s.network(), r) }
func (s store) forget(hostLink string) error { return removeFile(s.file(hostLink)) }
func (s store) recall() (remembered, error)  { return readJSON[remembered](s.network()) }
func (s store) load() ([]*attachment, error) { return s.loadFrom(os.ReadDir(s.pods())) }
func (s store) record(n string) (*attachment, error) {
	a, err := readJSON[attachment](filepath.Join(s.pods(), n))
	if err == nil && (a.HostLink+".json" != n || a.ContainerID == "") {
		err = errors.New("it does not describe the pod interface that its name says")
	}
	return &a, err
}

// loadFrom reads all records, oldest first. A damaged one is removed: its pod's link is dealt with as an orphan.
func (s store) loadFrom(entries []fs.DirEntry, err error) ([]*attachment, error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list pod network records: %w", err)
	}
	var all []*attachment
	for _, e := range entries {
		a, err := s.record(e.Name())
		if err == nil {
			all = append(all, a)
			continue
		}
		if err := removeFile(filepath.Join(s.pods(), e.Name())); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, bySequence)
	return all, nil
}

func readJSON[T any](path string) (T, error) {
	var value T
	raw, err := os.ReadFile(path)
	if err != nil {
		return value, fmt.Errorf("read pod network state: %w", err)
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return value, fmt.Errorf("decode pod network state %s: %w", path, err)
	}
	return value, nil
}

func writeJSON(path string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode pod network state %s: %w", path, err)
	}
	return writeFile(path, append(raw, '\n'))
}

// writeFile replaces a file as a whole. Names that end in .tmp are ignored and overwritten.
func writeFile(path string, content []byte) error {
	temporary := strings.TrimSuffix(path, filepath.Ext(path)) + ".tmp"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return errors.Join(fmt.Errorf("write file: %w", err), removeFile(temporary))
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("move file into place: %w", err)
	}
	return nil
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove file: %w", err)
	}
	return nil
}
