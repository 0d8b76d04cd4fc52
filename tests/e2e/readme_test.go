package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"kedge/pkg/config"
	"kedge/pkg/node/ports"
	"kedge/tests/host"
)

// TestReadme runs the README. A fenced block whose info string is "sh test" is run by bash on a host, in a directory that
// has bin/kedge and keeps what earlier blocks made there; "sh test background" is started and left to itself, as in a
// terminal of its own. A block "output" after it holds lines that it must print in this order, where … stands for anything.
// Blocks that build, need Docker or systemd, or write to the machine's own directories are not marked.
func TestReadme(t *testing.T) {
	bin := executable(t)
	blocks := readmeBlocks(readme(t))
	if len(blocks) == 0 {
		t.Fatal("README.md has no block that is run")
	}
	n := &node{Host: host.NewLab(t, 1).Hosts[0], bin: bin}
	dir := filepath.Join(n.Home(), "checkout")
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(bin, filepath.Join(dir, "bin", "kedge")); err != nil {
		t.Fatal(err)
	}
	for i, b := range blocks {
		if b.background {
			b.inBackground(t, n, dir, i)
		} else {
			b.run(t, n, dir)
		}
	}
}

type readmeBlock struct {
	commands   string
	output     []string
	background bool
}

func (b readmeBlock) spec(dir string) host.Spec {
	return host.Spec{Args: []string{"bash", "-c", "set -euo pipefail\n" + b.commands}, Dir: dir}
}

func (b readmeBlock) run(t *testing.T, n *node, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out lines
	spec := b.spec(dir)
	spec.Stdout, spec.Stderr = &out, &out
	if r := n.Run(ctx, spec); r.Code != 0 || r.Err != nil {
		t.Fatalf("exit status %d (%v) of\n%s\nwhich said\n%s", r.Code, r.Err, b.commands, lastLines(out.String(), 60))
	}
	if want := b.missing(out.String()); want != "" {
		t.Errorf("not printed, or not in this order: %q by\n%s\nwhich said\n%s", want, b.commands, lastLines(out.String(), 60))
	}
}

// inBackground waits for the block's output. The output goes to a file, since containers outlive what started them.
func (b readmeBlock) inBackground(t *testing.T, n *node, dir string, number int) {
	t.Helper()
	name := filepath.Join(n.Home(), fmt.Sprintf("block-%d.log", number))
	log, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	spec := b.spec(dir)
	spec.Stdout, spec.Stderr = log, log
	process, err := n.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	host.Eventually(t, startLimit, "output of "+b.commands, func() error {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		want := b.missing(string(text))
		if want == "" {
			return nil
		}
		select {
		case <-process.Done():
			t.Fatalf("it ended:\n%s", lastLines(string(text), 40))
		default:
		}
		return fmt.Errorf("not printed: %q; the output ends with\n%s", want, lastLines(string(text), 20))
	})
}

// missing returns the first line of the block's output that text does not have, empty when it has all.
func (b readmeBlock) missing(text string) string {
	for _, want := range b.output {
		i := findLine(text, want)
		if i < 0 {
			return want
		}
		text = text[i:]
	}
	return ""
}

// TestReadmeTables compares what the README says of options, files and ports with the code.
func TestReadmeTables(t *testing.T) {
	text := readme(t)
	options, err := os.ReadFile("../../pkg/config/OPTIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range tableRows(text, "| `--") {
		name := strings.Trim(row[0], "`-")
		all := tableRows(string(options), "| `"+name+"`")
		if len(all) != 1 {
			t.Errorf("option --%s is not in OPTIONS.md", name)
		} else if want := all[0][3]; row[1] != want {
			t.Errorf("default of --%s is %q in README.md and %q in OPTIONS.md", name, row[1], want)
		}
	}
	layout := reflect.ValueOf(config.NewLayout(config.DefaultDataDir))
	for _, method := range layout.Methods() {
		get, ok := reflect.TypeAssert[func() string](method)
		if ok && !mentioned(text, get()) {
			t.Errorf("%s is not in the table of files, nor is a directory that it is in", get())
		}
	}
	for _, p := range append(ports.Server("", 6443), ports.Agent("vxlan")...) {
		if !strings.Contains(text, p.String()) {
			t.Errorf("port %s (%s) is not named", p, p.For)
		}
	}
}

// mentioned tells whether a table's row begins with path or a directory above it, short of the data directory itself.
func mentioned(text, path string) bool {
	for ; path != config.DefaultDataDir && path != "/"; path = filepath.Dir(path) {
		if strings.Contains(text, "\n| `"+path+"`") {
			return true
		}
	}
	return false
}

// tableRows returns the cells of the rows that begin with prefix.
func tableRows(text, prefix string) [][]string {
	var rows [][]string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readmeBlocks finds the fenced blocks that are to be run, with what they print.
func readmeBlocks(text string) []readmeBlock {
	var blocks []readmeBlock
	info, inside, run := "", false, false
	for line := range strings.Lines(text) {
		if fence, ok := strings.CutPrefix(line, "```"); ok {
			if inside = !inside; !inside {
				continue
			}
			info = strings.TrimSpace(fence)
			if info != "output" {
				run = info == "sh test" || info == "sh test background"
			}
			if run && info != "output" {
				blocks = append(blocks, readmeBlock{background: info == "sh test background"})
			}
			continue
		}
		switch last := len(blocks) - 1; {
		case !inside || !run:
		case info == "output":
			blocks[last].output = append(blocks[last].output, strings.TrimSpace(line))
		default:
			blocks[last].commands += line
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
	text := "a\n```sh test\none\ntwo\n```\n```output\nfirst … line\n```\n```sh\nnot run\n```\n```output\nof nothing\n```\n" +
		"```sh test background\nthree\n```\n"
	got := readmeBlocks(text)
	want := []readmeBlock{{commands: "one\ntwo\n", output: []string{"first … line"}}, {commands: "three\n", background: true}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("blocks %+v, want %+v", got, want)
	}
	if i := findLine("nothing\nfirst test line  \nrest\n", got[0].output[0]); i != 26 {
		t.Errorf("position %d", i)
	}
	if i := findLine("first line\n", "first"); i >= 0 {
		t.Errorf("a part of a line was taken for it")
	}
	if m := got[0].missing("rest\n"); m != "first … line" {
		t.Errorf("missing %q", m)
	}
}
