package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// stamp is a file that says what some other files were made of.
type stamp struct {
	file    string
	inputs  string   // digest of everything that the outputs depend on
	outputs []string // files that have to be there
}

// suiteStamp covers the suite: module versions are immutable, so their list stands for the sources.
func (m module) suiteStamp(dir string) (stamp, error) {
	inputs, err := digest([]string{runtime.Version(), runtime.GOARCH, strings.Join(m.suiteArguments(), " ")}, m.file("go.mod"), m.file("go.sum"))
	return stamp{filepath.Join(dir, "suite.stamp"), inputs, []string{filepath.Join(dir, "e2e.test"), filepath.Join(dir, "ginkgo")}}, err
}

// imagesStamp covers the images. They also depend on this program, which carries recipes and the pause program.
func (m module) imagesStamp(dir string) (stamp, error) {
	self, err := os.Executable()
	if err != nil {
		return stamp{}, fmt.Errorf("find own executable: %w", err)
	}
	inputs, err := digest(nil, self, m.file("go.mod"), m.file("go.sum"), m.file("coredns/main.go"), m.file("sh/main.go"))
	return stamp{filepath.Join(dir, "images.stamp"), inputs, []string{filepath.Join(dir, archiveName)}}, err
}

// refresh calls build unless the outputs were made of the same inputs.
func (s stamp) refresh(out io.Writer, build func() error) error {
	if s.fresh() {
		return nil
	}
	if err := os.RemoveAll(s.file); err != nil {
		return fmt.Errorf("remove stamp: %w", err)
	}
	start := time.Now()
	if err := build(); err != nil {
		return err
	}
	for _, output := range s.outputs {
		info, err := os.Stat(output)
		if err != nil {
			return fmt.Errorf("find what was built: %w", err)
		}
		fmt.Fprintf(out, "%s: %.1f MB after %.1f s\n", output, float64(info.Size())/1e6, time.Since(start).Seconds())
	}
	if err := os.WriteFile(s.file, []byte(s.inputs), 0o644); err != nil {
		return fmt.Errorf("write stamp: %w", err)
	}
	return nil
}

func (s stamp) fresh() bool {
	had, err := os.ReadFile(s.file)
	if err != nil || string(had) != s.inputs {
		return false
	}
	for _, output := range s.outputs {
		if _, err := os.Stat(output); err != nil {
			return false
		}
	}
	return true
}

// digest is one digest of some values and of files' contents.
func digest(values []string, files ...string) (string, error) {
	h := sha256.New()
	for _, value := range values {
		fmt.Fprintf(h, "%d %s\n", len(value), value)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read input: %w", err)
		}
		fmt.Fprintf(h, "%x\n", sha256.Sum256(content))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
