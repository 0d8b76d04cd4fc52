package check

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"kedge/pkg/node/machine"
)

const (
	// LeastDisk is the free space below which a node is not started: its databases must not fill the disk.
	LeastDisk = 256 * mebibyte
	// goodDisk is what a node needs for a few images.
	goodDisk = 2048 * mebibyte
)

func portsOf(o Options) Report {
	var out Report
	for _, p := range o.Ports {
		f := Finding{What: "port " + p.String(), Found: "free", NeededFor: p.For, Status: OK}
		holder, err := p.Holder()
		switch {
		case err != nil:
			f.Found, f.Status, f.Mend = err.Error(), Missing, "give an address that this machine has"
		case holder != nil && holder.PID != 0 && holder.PID == o.Running:
			f.Found = "held by kedge itself"
		case holder != nil:
			f.Found, f.Status, f.Mend = "held by "+holder.String(), Missing, "stop it"
			if p.Mend != "" {
				f.Mend += ", or " + p.Mend
			}
		}
		out = append(out, f)
	}
	return out
}

func disk(o Options) Report {
	dir := o.Layout.DataDir
	f := Finding{What: "disk", NeededFor: "data directory " + dir}
	d, err := machine.DiskOf(dir)
	if err != nil {
		f.Found, f.Status = err.Error(), Missing
		return Report{f.mend("give another --data-dir")}
	}
	f.Found = fmt.Sprintf("%s, %d MiB free", d.Type, d.FreeBytes/mebibyte)
	f.Status = space(d)
	switch {
	case d.ReadOnly:
		f.Found = d.Type + ", mounted read-only"
		f.Mend = "mount it writable, or give another --data-dir"
	case d.AllFiles > 0 && d.FreeFiles < 1000:
		f.Found += fmt.Sprintf(", %d inodes free", d.FreeFiles)
		f.Mend = "delete files, or give another --data-dir"
	default:
		f = f.mend(fmt.Sprintf("free at least %d MiB (%d MiB are good), or give another --data-dir", LeastDisk/mebibyte, goodDisk/mebibyte))
	}
	return Report{f}
}

// overlay tries the snapshotter's file system where the data directory is or will be.
func overlay(o Options) Report {
	f := Finding{What: "overlayfs on the data directory", Found: "works", NeededFor: "containers that share image layers", Status: OK}
	dir := existing(o.Layout.DataDir)
	if err := machine.TryOverlay(dir); err != nil {
		f.Found, f.Status = err.Error(), Warn
	}
	return Report{f.mend("put --data-dir on ext4, xfs, btrfs or tmpfs (in a container: on a volume); without, each container copies its image")}
}

// existing returns path or the nearest parent that exists.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

func space(d machine.Disk) Status {
	switch {
	case d.ReadOnly, d.FreeBytes < LeastDisk, d.AllFiles > 0 && d.FreeFiles < 1000:
		return Missing
	case d.FreeBytes < goodDisk:
		return Warn
	}
	return OK
}

func clock() Report {
	f := Finding{What: "clock", NeededFor: "certificates"}
	c, err := machine.ReadClock()
	f.Found = c.Now.UTC().Format(time.RFC3339)
	f.Status = verdict(c.Sane(), Warn)
	switch {
	case err != nil:
		f.Found += ", " + err.Error()
	case c.Synchronised:
		f.Found += ", synchronised"
	default:
		f.Found += ", not synchronised"
	}
	return Report{f.mend("set the clock: certificates are made for the year it shows")}
}
