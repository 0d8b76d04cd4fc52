package cni

import (
	"errors"

	"kedge/pkg/network/cni/wire"
)

// del takes a pod's network away. What is gone already is no error, and neither is a pod that was never there.
func (n *Network) del(containerID, ifName string) error {
	if a := n.lookup(attachmentKey(containerID, ifName)); a != nil {
		return n.detach(a)
	}
	name := hostLinkName(containerID, ifName)
	return errors.Join(unplumb(n.links, name), n.store.forget(name))
}

// detach undoes attach, in reverse; the addresses are free when nothing uses them. A failure keeps the record, so that DEL can be tried again.
func (n *Network) detach(a *attachment) error {
	if err := n.fw.remove(a); err != nil {
		return err
	}
	if err := unplumb(n.links, a.HostLink); err != nil {
		return err
	}
	if err := n.flushUDP(a); err != nil {
		return err
	}
	if err := n.store.forget(a.HostLink); err != nil {
		return err
	}
	n.release(a)
	return nil
}

// collect releases what the runtime does not list as valid.
func (n *Network) collect(c call) error {
	valid := map[string]bool{}
	for _, id := range c.conf.ValidAttachments {
		valid[attachmentKey(id.ContainerID, id.IfName)] = true
	}
	var errs []error
	for _, a := range n.everyAttachment() {
		if !valid[a.key()] {
			errs = append(errs, n.collectOne(a))
		}
	}
	return errors.Join(errs...)
}

// collectOne releases an attachment unless a call for it is in flight.
func (n *Network) collectOne(a *attachment) error {
	unlock := n.locks.tryLock(a.key())
	if unlock == nil {
		return nil
	}
	defer unlock()
	if n.lookup(a.key()) != a {
		return nil
	}
	n.log.Info("released the network of a pod that is gone", "pod", a.Pod, "container", a.ContainerID, "addresses", a.Addresses)
	return n.detach(a)
}

// sweep releases attachments whose link is gone and tells whether there were any.
func (n *Network) sweep() bool {
	present, err := podLinks(n.links)
	if err != nil {
		return false
	}
	var swept bool
	for _, a := range n.everyAttachment() {
		if !present[a.HostLink] && n.collectOne(a) == nil {
			swept = true
		}
	}
	return swept
}

func mismatch(what string, err error) error {
	details := "it is missing"
	if err != nil {
		details = err.Error()
	}
	return &wire.Error{Code: wire.CodeInternal, Msg: what, Details: details}
}
