package repo

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestScripts: a script that goes on after an error makes the next error a riddle.
func TestScripts(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join(root, "scripts"))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{".ci/run"}
	for _, entry := range entries {
		names = append(names, "scripts/"+entry.Name())
	}
	for _, name := range names {
		path := filepath.Join(root, name)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(raw)
		if !strings.HasPrefix(text, "#!/usr/bin/env bash\n# "+filepath.Base(name)) {
			t.Errorf("%s: begins with another line than '#!/usr/bin/env bash' and '# %s …: what it does'", name, filepath.Base(name))
		}
		if !strings.Contains(text, "\nset -euo pipefail\n") && !strings.Contains(text, `/env"`+"\n") {
			t.Errorf("%s: neither 'set -euo pipefail' nor scripts/env, which sets it", name)
		}
		if sourced := name == "scripts/env"; (info.Mode()&0o111 != 0) == sourced {
			t.Errorf("%s: mode %v, want executable except for scripts/env", name, info.Mode())
		}
		if out, err := exec.Command("bash", "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// TestNoMachinePaths: a path of the machine that a file was written on means nothing on another.
func TestNoMachinePaths(t *testing.T) {
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	forbidden := []byte(top + "/")
	if strings.Count(top, "/") < 2 {
		t.Skipf("%s is too short a path to be told from others", top)
	}
	err = walk(func(name string) error {
		raw, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		if before, _, found := bytes.Cut(raw, forbidden); found {
			t.Errorf("%s:%d: names %s", name, 1+bytes.Count(before, []byte("\n")), forbidden)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
