package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kedge/tests/host"
)

// TestReadme runs the README. A fenced block whose info string is "sh test" is run; all of them, in order, are one
// session of bash on a fresh host, in a directory that has bin/kedge and images/test.tar, with sudo. A block "output"
// after it holds lines that must have been printed by then, where … stands for anything.
func TestReadme(t *testing.T) {
	bin := executable(t)
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := readmeBlocks(string(text))
	if len(blocks) == 0 {
		t.Fatal("README.md has no block that is run")
	}
	n := &node{Host: host.NewLab(t, 1).Hosts[0], bin: bin}
	dir := filepath.Join(n.Home(), "kedge")
	for _, d := range []string{filepath.Join(dir, "bin"), filepath.Join(dir, "images"), filepath.Join(n.Home(), "sudo")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.Must(t, "sh", "-ec", "cp "+os.Getenv(imageVariable)+" "+dir+"/images/test.tar; ln -s "+bin+" "+dir+"/bin/kedge; printf '#!/bin/sh\nexec \"$@\"\n' > "+n.Home()+"/sudo/sudo; chmod +x "+n.Home()+"/sudo/sudo")
	script := "set -euo pipefail; export PATH=" + n.Home() + "/sudo:$PATH\n"
	for _, b := range blocks {
		script += b.commands
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out lines
	r := n.Run(ctx, host.Spec{Args: []string{"bash", "-c", script}, Dir: dir, Stdout: &out, Stderr: &out})
	if r.Code != 0 || r.Err != nil {
		t.Fatalf("exit status %d (%v) of\n%s\nwhich said\n%s", r.Code, r.Err, script, lastLines(out.String(), 60))
	}
	rest := out.String()
	for _, b := range blocks {
		for _, want := range b.output {
			i := findLine(rest, want)
			if i < 0 {
				t.Errorf("not printed: %q; after what was found before it:\n%s", want, lastLines(rest, 40))
				continue
			}
			rest = rest[i:]
		}
	}
}

type readmeBlock struct {
	commands string
	output   []string
}

// readmeBlocks finds the fenced blocks that are to be run, with what they print.
func readmeBlocks(text string) []readmeBlock {
	var blocks []readmeBlock
	info, inside := "", false
	for line := range strings.Lines(text) {
		if fence, ok := strings.CutPrefix(line, "```"); ok {
			inside = !inside
			info = strings.TrimSpace(fence)
			if inside && info == "sh test" {
				blocks = append(blocks, readmeBlock{})
			}
			continue
		}
		switch last := len(blocks) - 1; {
		case inside && info == "sh test":
			blocks[last].commands += line
		case inside && info == "output" && last >= 0:
			blocks[last].output = append(blocks[last].output, strings.TrimSpace(line))
		}
	}
	return blocks
}

// findLine returns the position after the first line of text that matches want, -1 when there is none.
func findLine(text, want string) int {
	parts := strings.Split(want, "…")
	at := 0
	for line := range strings.Lines(text) {
		at += len(line)
		if matches(strings.TrimSpace(line), parts) {
			return at
		}
	}
	return -1
}

func matches(line string, parts []string) bool {
	if !strings.HasPrefix(line, parts[0]) || !strings.HasSuffix(line, parts[len(parts)-1]) {
		return false
	}
	for _, p := range parts {
		i := strings.Index(line, p)
		if i < 0 {
			return false
		}
		line = line[i+len(p):]
	}
	return len(parts) > 1 || line == ""
}

func TestReadmeBlocks(t *testing.T) {
	text := "a\n```sh test\none\ntwo\n```\n```output\nfirst … line\n```\n```sh\nnot run\n```\n"
	got := readmeBlocks(text)
	if len(got) != 1 || got[0].commands != "one\ntwo\n" || len(got[0].output) != 1 {
		t.Fatalf("blocks %+v", got)
	}
	if i := findLine("nothing\nfirst test line  \nrest\n", got[0].output[0]); i != 26 {
		t.Errorf("position %d", i)
	}
	if i := findLine("first line\n", "first"); i >= 0 {
		t.Errorf("a part of a line was taken for it")
	}
}
