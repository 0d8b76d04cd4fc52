// Package reset takes a node apart: containers, mounts, cgroups, network and files.
//
// Invariants: nothing is touched while kedge runs. A file is deleted only on the mount that its directory tree began
// on: deletion never crosses a mount point, not even one of the same file system, and never follows a symbolic link.
// So the files of a file system that somebody mounted into a volume survive, also when it cannot be unmounted. Processes,
// cgroups and logs of another kubelet on the machine are left alone. What fails is reported, and the rest goes on; a
// second run continues where the first could not.
//
// pkg/cli imports it; it imports pkg/config, pkg/cri for names, and its siblings lock and machine.
package reset
