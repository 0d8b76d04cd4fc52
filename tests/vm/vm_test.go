package vm

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"kedge/tests/image"
)

const (
	runLimit = 15 * time.Minute // an emulated processor is 10 to 30 times slower
	diskSize = "3G"
)

// TestVirtualMachine boots kedge in a virtual machine and reads what testdata/run.sh found there.
func TestVirtualMachine(t *testing.T) {
	bin := os.Getenv("KEDGE_BIN")
	if bin == "" || os.Getuid() != 0 {
		t.Skip("needs root and KEDGE_BIN, the path of the executable")
	}
	needTools(t)
	dir := t.TempDir()
	img, err := image.Build(t.Context(), dir)
	archive := filepath.Join(dir, "test.tar")
	if err == nil {
		err = image.Write(archive, image.DockerSave, map[string]v1.Image{image.Name: img})
	}
	if err != nil {
		t.Fatal(err)
	}
	found := runMachine(t, dir, map[string]string{
		"bin/kedge": bin, "var/lib/kedge/images/test.tar": archive,
		"test/run.sh": "testdata/run.sh", "test/pod.yaml": "testdata/pod.yaml", "test/hungry.yaml": "testdata/hungry.yaml",
	}, runLimit)
	for key, want := range map[string]string{
		"date":              "2024", // the machine's clock is wrong and stays so
		"modules_before":    "0",
		"modules":           "nf_tables overlay veth ",
		"node":              "vm True",
		"status":            "0",
		"pod_memory":        "67108864",
		"pod_cpu":           "25000 100000",
		"memory":            "67108864",
		"cpu":               "25000 100000",
		"answer":            "limited",
		"modules_ipvs":      "ip_vs ip_vs_rr ",
		"service_from_node": "limited",
		"service_from_pod":  "limited",
		"node_port":         "limited",
		"api_from_pod":      "1",
		"hungry":            "OOMKilled",
		"stop":              "0",
		"survives":          "limited",
		"mode_nftables":     "limited",
		"virtual_nftables":  "right",
		"mode_ipvs":         "limited",
		"virtual_ipvs":      "right",
		"panics":            "0",
		"end":               "0",
	} {
		if found[key] != want {
			t.Errorf("%s is %q, want %q", key, found[key], want)
		}
	}
	for _, c := range []string{"cpu", "memory", "pids", "cpuset", "io"} {
		if !strings.Contains(" "+found["controllers"]+" ", " "+c+" ") {
			t.Errorf("the machine has no controller %s: %q", c, found["controllers"])
		}
	}
	if !strings.HasPrefix(found["pod_cgroup"], "/sys/fs/cgroup/kubepods") {
		t.Errorf("the pod's cgroup is in %q", found["pod_cgroup"])
	}
	t.Logf("node ready after %s s, stopped in %s s", found["ready_seconds"], found["stop_seconds"])
}

// TestHosts runs the tests of tests/host, whose hosts must also work on cgroup v2 with delegation.
func TestHosts(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, as the other test of the virtual machine")
	}
	needTools(t)
	dir := t.TempDir()
	binary := testBinary(t, dir, "host.test", "kedge/tests/host")
	if found := runMachine(t, dir, map[string]string{"bin/host.test": binary, "test/run.sh": "testdata/hosts.sh"}, runLimit); found["passed"] == "0" {
		t.Error("no test was run")
	}
}

func needTools(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"qemu-system-x86_64", "mke2fs", "depmod", "cpio", "/bin/busybox"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
}

// disk makes the machine's disk: busybox, the kernel's modules, and files by their names below the root directory.
func disk(t *testing.T, k kernel, dir string, files map[string]string) string {
	t.Helper()
	root := filepath.Join(dir, "root")
	for _, d := range []string{"proc", "sys", "dev", "run", "tmp", "etc", "lib", "mnt", "root", "sbin", "var/log"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	install(t, "/bin/busybox", filepath.Join(root, "bin", "busybox"))
	links := map[string]string{"sbin/modprobe": "../bin/busybox"} // where the kernel looks for it
	for applet := range strings.FieldsSeq(command(t, "", "/bin/busybox", "--list")) {
		links["bin/"+applet] = "busybox"
	}
	delete(links, "bin/busybox")
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	install(t, "testdata/init.sh", filepath.Join(root, "sbin", "init"))
	for name, from := range files {
		install(t, from, filepath.Join(root, name))
	}
	for file, text := range map[string]string{
		"hosts": "127.0.0.1 localhost\n", "resolv.conf": "", "passwd": "root:x:0:0:root:/root:/bin/sh\n", "group": "root:x:0:\n",
	} {
		if err := os.WriteFile(filepath.Join(root, "etc", file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	command(t, "", "cp", "-a", filepath.Dir(k.modules), filepath.Join(root, "lib"))
	out := filepath.Join(dir, "disk.img")
	command(t, "", "mke2fs", "-q", "-t", "ext4", "-d", root, out, diskSize)
	return out
}

// runMachine runs a machine with files on its disk until it powers itself off and returns the results it printed.
func runMachine(t *testing.T, dir string, files map[string]string, limit time.Duration) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	args := bootArgs(t, dir, files, "-m", "2048", "-rtc", "base=2024-01-01T00:00:00", "-netdev", "user,id=net,restrict=on")
	return boot(ctx, t, append(args, parallel()...))
}

// bootArgs makes a disk and returns what QEMU is told: what all machines have in common, then the arguments of this one.
func bootArgs(t *testing.T, dir string, files map[string]string, args ...string) []string {
	t.Helper()
	k := debianKernel(t)
	return append([]string{
		"-machine", "q35", "-cpu", "Westmere", // a newer processor only makes the emulation slower
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-device", "virtio-net-pci,netdev=net,romfile=",
		"-kernel", k.image, "-initrd", initrd(t, k, dir), "-drive", "file=" + disk(t, k, dir, files) + ",format=raw,if=virtio,cache=unsafe",
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check random.trust_cpu=on",
	}, args...)
}

// parallel is how fast a machine can be: each of its two processors is a thread here.
func parallel() []string { return []string{"-accel", "tcg,thread=multi", "-smp", "2"} }

// counting is a machine whose clock counts: an instruction takes one nanosecond, and nothing else takes any time. It is slow, but what it
// measures does not depend on what this machine does meanwhile.
func counting() []string {
	return []string{"-accel", "tcg,thread=single", "-smp", "1", "-icount", "shift=0,sleep=off", "-rtc", "clock=vm"}
}

// boot runs a machine until it powers itself off. It starts it again when its clock is useless, which is found before
// anything is done (testdata/initrd.sh).
func boot(ctx context.Context, t *testing.T, args []string) map[string]string {
	t.Helper()
	for range 5 {
		begin := time.Now()
		found, text, err := power(ctx, t, args)
		if found["clock"] != "" {
			t.Logf("the machine's clock ran at %s %% of real time, it starts again", found["clock"])
			continue
		}
		if err != nil || found["end"] != "0" {
			t.Errorf("the machine ended after %s with %v, the console with\n%s", time.Since(begin).Round(time.Second), err, text)
			if len(found) < 5 {
				t.FailNow() // nothing to compare
			}
		}
		t.Logf("the machine ran for %s", time.Since(begin).Round(time.Second))
		return found
	}
	t.Fatal("no machine had a useful clock: this one is too busy")
	return nil
}

// power runs a machine once and returns what it printed: the results, and the end of the text.
func power(ctx context.Context, t *testing.T, args []string) (found map[string]string, text string, err error) {
	t.Helper()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	cmd.Stderr = os.Stderr
	console, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found, text = results(io.TeeReader(console, watcher(t)))
	return found, text, cmd.Wait()
}

// watcher is where all that machines print goes as well: the file that KEDGE_CONSOLE names, or nowhere.
func watcher(t *testing.T) io.Writer {
	t.Helper()
	name := os.Getenv("KEDGE_CONSOLE")
	if name == "" {
		return io.Discard
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// results reads the console to its end; text is its last part.
func results(console io.Reader) (found map[string]string, text string) {
	found = map[string]string{}
	var last []string
	lines := bufio.NewScanner(console)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if _, r, ok := strings.Cut(line, "RESULT "); ok {
			key, value, _ := strings.Cut(r, "=")
			found[key] = value
		}
		if last = append(last, line); len(last) > 80 {
			last = last[1:]
		}
	}
	return found, strings.Join(last, "\n")
}
