package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// nothingInstalled is the empty list of installed packages.
const nothingInstalled = "nothing-installed"

// deb is a Debian package as apt means to download it.
type deb struct {
	name, version string
	file          string // name of the file
	size          int64
}

// unneeded are packages that others depend on for scripts which never run in an image, or for files which images bring
// themselves.
const unneeded = " base-files debconf debianutils gcc-12-base libaudit-common libcap2-bin libdb5.3 libpam0g libtirpc-common mawk util-linux-extra "

// uri is a line of apt-get --print-uris: 'address' file size hash.
var uri = regexp.MustCompile(`^'[^']+' (([^_ ]+)_([^_ ]+)_[^_ ]+\.deb) (\d+)`)

// apt reads packages through apt-get, which checks signatures and hashes, with the machine's sources, as if nothing were
// installed: what the machine has installed does not matter.
type apt struct {
	dir string // where the packages are kept
}

func (a apt) command(ctx context.Context, args ...string) *exec.Cmd {
	status := filepath.Join(a.dir, nothingInstalled)
	args = append([]string{"-q", "-y", "-o", "Dir::State::status=" + status, "-o", "APT::Install-Recommends=false", "-o", "APT::Sandbox::User=root"}, args...)
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Dir = a.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return cmd
}

// fetch resolves and downloads groups of packages, by name. When that fails, the machine may have no list of packages, or
// one that is older than the archive; then the list is brought up to date, which needs root, and it tries once more.
func (a apt) fetch(ctx context.Context, groups map[string][]string) (map[string][]deb, error) {
	if err := os.MkdirAll(a.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make directory for packages: %w", err)
	}
	if err := os.WriteFile(filepath.Join(a.dir, nothingInstalled), nil, 0o644); err != nil {
		return nil, fmt.Errorf("write package status: %w", err)
	}
	debs, err := a.try(ctx, groups)
	if err == nil {
		return debs, nil
	}
	if out, update := exec.CommandContext(ctx, "apt-get", "-q", "update").CombinedOutput(); update != nil {
		return nil, errors.Join(err, fmt.Errorf("update the list of Debian packages: %w: %s", update, bytes.TrimSpace(out)))
	}
	return a.try(ctx, groups)
}

func (a apt) try(ctx context.Context, groups map[string][]string) (map[string][]deb, error) {
	resolved := map[string][]deb{}
	all := map[string]deb{}
	for group, packages := range groups {
		debs, err := a.closure(ctx, packages...)
		if err != nil {
			return nil, err
		}
		resolved[group] = debs
		for _, d := range debs {
			all[d.file] = d
		}
	}
	return resolved, a.download(ctx, all)
}

// closure lists the packages and what they depend on.
func (a apt) closure(ctx context.Context, packages ...string) ([]deb, error) {
	cmd := a.command(ctx, append([]string{"--print-uris", "install"}, packages...)...)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("resolve Debian packages %s: %w: %s", strings.Join(packages, " "), err, bytes.TrimSpace(problem.Bytes()))
	}
	debs := parseURIs(string(out))
	if len(debs) == 0 {
		return nil, fmt.Errorf("resolve Debian packages %s: apt-get names none to download", strings.Join(packages, " "))
	}
	return debs, nil
}

// parseURIs reads what apt-get --print-uris prints, but for packages that are not needed.
func parseURIs(text string) []deb {
	var debs []deb
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		field := uri.FindStringSubmatch(lines.Text())
		if field == nil || strings.Contains(unneeded, " "+field[2]+" ") {
			continue
		}
		size, err := strconv.ParseInt(field[4], 10, 64)
		if err != nil {
			continue
		}
		debs = append(debs, deb{name: field[2], version: strings.ReplaceAll(field[3], "%3a", ":"), file: field[1], size: size})
	}
	return debs
}

// download fetches the packages that are not there yet, by file name.
func (a apt) download(ctx context.Context, debs map[string]deb) error {
	args := []string{"download"}
	for file, d := range debs {
		if info, err := os.Stat(filepath.Join(a.dir, file)); err == nil && info.Size() == d.size {
			continue
		}
		args = append(args, d.name+"="+d.version)
	}
	if len(args) == 1 {
		return nil
	}
	if out, err := a.command(ctx, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("download Debian packages: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
