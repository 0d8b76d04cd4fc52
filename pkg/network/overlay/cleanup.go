package overlay

import "errors"

// Cleanup removes links and routes of the overlay. The nftables table goes with the pod network's. It may be repeated and needs kedge
// to be stopped.
func Cleanup() (err error) {
	k, err := openKernel()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	var have State
	err = undisturbed(func() (err error) {
		have, err = k.read()
		return err
	})
	if err != nil {
		return err
	}
	_, err = k.apply(newState(0), have)
	return err
}
