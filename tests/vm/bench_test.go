package vm

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// benchLimit is for an upstream proxy that runs ipset 16,000 times before its first change, which takes 40 minutes in the machine.
const benchLimit = 110 * time.Minute

// TestBenchProxy measures service proxies on a kernel with IPVS. scripts/bench proxy vm starts it: KEDGE_BENCH_PROXY holds the flags of
// tests/bench/proxy, KEDGE_BENCH the directory of its executables; KEDGE_BENCH_COUNT makes the machine's clock count instructions.
func TestBenchProxy(t *testing.T) {
	flags, build := os.Getenv("KEDGE_BENCH_PROXY"), os.Getenv("KEDGE_BENCH")
	if build == "" || os.Getuid() != 0 {
		t.Skip("it is no test: scripts/bench proxy vm starts it")
	}
	needTools(t)
	dir := t.TempDir()
	files := map[string]string{
		"test/run.sh": "testdata/bench.sh", "test/flags": filepath.Join(dir, "flags"), "etc/protocols": filepath.Join(dir, "protocols"),
		"bin/bench-proxy": filepath.Join(build, "bench-proxy"), "bin/kube-proxy": filepath.Join(build, "kube-proxy"),
	}
	for name, text := range map[string]string{"flags": cmp.Or(flags, "-services=1000"), "protocols": "tcp 6 TCP\nudp 17 UDP\n"} { // which ipset reads
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ipset", "iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		addProgram(t, files, name)
	}
	plugins, err := filepath.Glob("/usr/lib/*/xtables/*.so")
	if err != nil || len(plugins) == 0 {
		t.Fatalf("no plugins of iptables: %v", err)
	}
	for _, p := range plugins {
		files[p[1:]] = p
	}
	ctx, cancel := context.WithTimeout(t.Context(), benchLimit)
	defer cancel()
	processor := parallel()
	if os.Getenv("KEDGE_BENCH_COUNT") != "" {
		processor = counting()
	}
	found := boot(ctx, t, append(bootArgs(t, dir, files, "-m", "3072", "-netdev", "user,id=net,restrict=on"), processor...))
	var rows []string
	for key := range found {
		if strings.HasPrefix(key, "row") {
			rows = append(rows, key)
		}
	}
	slices.Sort(rows)
	for _, row := range rows {
		t.Log(found[row])
	}
}

// addProgram adds a program of this machine, under the name by which it is called, with the libraries that it loads.
func addProgram(t *testing.T, files map[string]string, name string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs %s: %v", name, err)
	}
	files["bin/"+name] = target(t, path)
	for _, library := range regexp.MustCompile(`/lib\S*`).FindAllString(command(t, "", "ldd", files["bin/"+name]), -1) {
		files[library[1:]] = target(t, library)
	}
}

// target is the file that links lead to.
func target(t *testing.T, path string) string {
	t.Helper()
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return real
}
