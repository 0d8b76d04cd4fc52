package repo

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// program is a main package that is shipped, listed the way scripts/build and scripts/payload build it.
type program struct {
	dir, pkg, tags, cgo string
}

var programs = []program{
	{dir: ".", pkg: "./cmd/kedge", tags: "no_zfs,no_btrfs,no_devmapper", cgo: "0"},
	{dir: ".", pkg: "./cmd/kedge-cni", cgo: "0"},
	{dir: ".", pkg: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", tags: "no_grpc", cgo: "0"},
	{dir: "embedded/payload/runc", pkg: "github.com/opencontainers/runc", tags: "seccomp,urfave_cli_no_docs,netgo,osusergo", cgo: "1"},
}

// list runs go list -deps for the program.
func (p program) list(t *testing.T, format string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-tags", p.tags, "-f", format, p.pkg)
	cmd.Dir = filepath.Join(root, p.dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+p.cgo, "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v", p.pkg, err)
	}
	return slices.Compact(slices.Sorted(strings.Lines(string(out))))
}

// licences are those whose terms an executable under Apache-2.0 can meet, and how to know them.
var licences = map[string]*regexp.Regexp{
	"Apache-2.0": regexp.MustCompile(`Apache License,? Version 2\.0`),
	"MIT":        regexp.MustCompile(`Permission is hereby granted, free of charge, to any person`),
	"BSD":        regexp.MustCompile(`Redistribution and use (of this software )?in source and binary forms`),
	"ISC":        regexp.MustCompile(`Permission to use, copy, modify, and(/or)? distribute this software`),
	"MPL-2.0":    regexp.MustCompile(`Mozilla Public License,? [Vv]ersion 2\.0`),
}

// copyleft are texts that forbid what we do with the module, even beside an allowed one.
var copyleft = regexp.MustCompile(`GNU (AFFERO |LESSER )?GENERAL PUBLIC LICENSE|Server Side Public License|Business Source License|Elastic License`)

// TestLicences: what is linked is shipped, and everything shipped must be allowed to be.
func TestLicences(t *testing.T) {
	count := map[string]int{}
	for _, p := range programs {
		for _, line := range p.list(t, `{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}`) {
			module, dir, ok := strings.Cut(strings.TrimSpace(line), " ")
			if !ok {
				continue
			}
			licence := licenceOf(t, dir)
			if count[licence]++; licence == "" {
				t.Errorf("%s links %s: no licence text in %s that is known and allowed", p.pkg, module, dir)
			}
		}
	}
	t.Logf("licences of linked modules: %v", count)
}

// licenceOf returns the name of the first allowed licence in the module's directory, empty if there is none
// or one that forbids.
func licenceOf(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for _, entry := range entries {
		name := strings.ToLower(entry.Name())
		if entry.IsDir() || !strings.HasPrefix(name, "licen") && !strings.HasPrefix(name, "copying") {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(string(raw)), " ")
		if copyleft.MatchString(text) {
			return ""
		}
		for licence, sign := range licences {
			if sign.MatchString(text) {
				found = licence
			}
		}
	}
	return found
}

// TestCNIEntryIsSmall: it starts for every pod, twice; package initialisation of a big program would cost more than its work.
func TestCNIEntryIsSmall(t *testing.T) {
	for _, line := range programs[1].list(t, "{{.ImportPath}}") {
		path := strings.TrimSpace(line)
		for _, heavy := range []string{"k8s.io/", "sigs.k8s.io/", "github.com/containerd/", "google.golang.org/grpc"} {
			if strings.HasPrefix(path, heavy) {
				t.Errorf("cmd/kedge-cni links %s", path)
			}
		}
	}
}

// TestReplaces: no forks. Only Kubernetes' staging modules need a replace, because its go.mod names them v0.0.0.
func TestReplaces(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	staging := ""
	for _, r := range mod.Require {
		if r.Mod.Path == "k8s.io/kubernetes" {
			staging = strings.Replace(r.Mod.Version, "v1.", "v0.", 1)
		}
	}
	for _, r := range mod.Replace {
		if !strings.HasPrefix(r.Old.Path, "k8s.io/") || r.New.Path != r.Old.Path || r.New.Version != staging {
			t.Errorf("go.mod: replace %s => %s %s, want only k8s.io modules by themselves at %s", r.Old.Path, r.New.Path, r.New.Version, staging)
		}
	}
}
