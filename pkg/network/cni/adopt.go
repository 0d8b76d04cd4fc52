package cni

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
)

// adopt takes over, once, what a former process left: pods with their link are kept, records without a link are stale
// (the machine lost power, or the process died in the middle of ADD), links without a record belong to pods nobody knows.
func (n *Network) adopt() error {
	n.adoptOnce.Do(func() { n.adoptErr = n.adoptAll() })
	return n.adoptErr
}

func (n *Network) adoptAll() error {
	records, err := n.store.load()
	if err != nil {
		return err
	}
	present, err := podLinks(n.links)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range records {
		if !present[a.HostLink] {
			n.log.Info("released the address of a pod that is gone", "pod", a.Pod, "addresses", a.Addresses)
			if err := n.store.forget(a.HostLink); err != nil {
				return err
			}
			continue
		}
		delete(present, a.HostLink)
		n.attached[a.key()] = a
		n.sequence = max(n.sequence, a.Sequence)
		if err := n.fw.adopt(a); err != nil {
			return fmt.Errorf("adopt pod %s: %w", a.Pod, err)
		}
	}
	return n.removeOrphans(present)
}

func (n *Network) removeOrphans(orphans map[string]bool) error {
	var errs []error
	for name := range orphans {
		n.log.Warn("removed a pod's link that has no record", "link", name)
		errs = append(errs, unplumb(n.links, name))
	}
	return errors.Join(errs...)
}

// podLinks names the host's sides of all pods' veth pairs.
func podLinks(links *netlink.Handle) (map[string]bool, error) {
	all, err := links.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	present := map[string]bool{}
	for _, l := range all {
		if ours(l) {
			present[l.Attrs().Name] = true
		}
	}
	return present, nil
}

// ours tells the host's side of a pod's pair by its kind, name and hardware address.
func ours(link netlink.Link) bool {
	a := link.Attrs()
	return link.Type() == "veth" && strings.HasPrefix(a.Name, linkPrefix) && bytes.Equal(a.HardwareAddr, gatewayMAC())
}
