// Package host makes isolated hosts on one machine, for tests that need whole machines without a virtual one.
//
// A Host is a set of network, mount, UTS, IPC, PID and cgroup namespaces over a cgroup of its own, with a private /run,
// private state directories (see disks) and its own hosts and resolv.conf. Its PID 1 is the test binary itself,
// started again by way of Main. The hosts of a Lab are plugged into one bridge in a network namespace of its own,
// the Switch, where a client outside the cluster stands. Kill is a power cut: every process, mount, link and rule
// of the host is gone, its disks stay; Boot brings it up again.
//
// Only tests and benchmarks import it. Invariants:
//
//   - It needs root, and no other program: namespaces are entered by threads of the test binary, links are made over netlink.
//   - Nothing outlives the test binary, even a killed one: PID 1 ends when the pipe to its parent closes,
//     network namespaces are held by file descriptors only, and the next run removes directories and cgroups
//     whose owner is dead.
//   - The machine's own namespaces are not touched.
package host
