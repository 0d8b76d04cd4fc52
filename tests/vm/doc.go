// Package vm runs the executable in a virtual machine with Debian's kernel: cgroup v2 with all controllers, modules
// that have to be loaded, a clock that is years behind, and a processor that is emulated and so very slow.
//
// KEDGE_BIN names the executable. KEDGE_SUITE, a directory with the conformance suite, adds its specs of SIG Network, which
// take half an hour. KEDGE_CONSOLE names a file that gets all that the machines print, as they print it. The tests need
// root, and Debian's packages qemu-system-x86, busybox-static, kmod, cpio and e2fsprogs; they fetch the kernel with apt-get
// and keep it in the user's cache directory. The machine lives in a temporary directory and ends with its test. The package
// has no code outside of tests and nobody imports it.
package vm
