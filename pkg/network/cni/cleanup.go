package cni

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"kedge/pkg/network/nft"
)

// Paths are the files of the pod network, as in Config.
type Paths struct {
	Socket   string
	StateDir string
	ConfDir  string
}

// Cleanup takes everything away that the pod network brought: pods' links with their routes and neighbours, addresses on lo, the
// nftables table `inet kedge`, files; kernel parameters get their former values. It leaves all that is not kedge's, may be repeated,
// and needs kedge to be stopped.
func Cleanup(paths Paths) error {
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer links.Close()
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	former, _ := store{paths.StateDir}.recall() // without a record there is nothing on lo, or the state directory was deleted by hand
	err = errors.Join(cleanLinks(links), cleanAddresses(links, former.Addresses), nft.DeleteTable(conn))
	if former.Boot == bootID() {
		err = errors.Join(err, restoreSettings(former.Sysctls))
	}
	if err != nil {
		return err // the record is kept, so that it can be tried again
	}
	return errors.Join(
		removeFile(paths.Socket),
		removeFile(Config{ConfDir: paths.ConfDir}.confFile()),
		removeTree(paths.StateDir),
	)
}

func cleanLinks(links *netlink.Handle) error {
	present, err := podLinks(links)
	if err != nil {
		return err
	}
	var errs []error
	for name := range present {
		errs = append(errs, unplumb(links, name))
	}
	return errors.Join(errs...)
}

func cleanAddresses(links *netlink.Handle, own []netip.Addr) error {
	if len(own) == 0 {
		return nil
	}
	lo, err := links.LinkByName(loopback)
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	var errs []error
	for _, a := range own {
		errs = append(errs, delAddress(links, lo, a))
	}
	return errors.Join(errs...)
}

func removeTree(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove pod network state: %w", err)
	}
	return nil
}
