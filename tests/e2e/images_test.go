package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"kedge/tests/host"
	"kedge/tests/image"
)

// testImages drops archives of every form into the directory of a running node.
func testImages(t *testing.T, n *node) {
	ns := n.namespace(t, "images")
	dir := n.Path(dataDir + "/images")
	for _, c := range []struct {
		name   string
		file   string
		format image.Format
	}{
		{"docker", "docker.tar", image.DockerSave},
		{"docker-gz", "docker.tar.gz", image.DockerSave},
		{"oci", "oci.tar", image.OCILayout},
		{"oci-gz", "oci.tar.gz", image.OCILayout},
		{"oci-zst", "oci.tar.zst", image.OCILayout},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := "kedge.local/" + c.name + ":1"
			writeVariant(t, filepath.Join(dir, c.file), c.format, name, c.name)
			n.waitImage(t, name)
			runVariant(t, n, ns, c.name, name, c.name)
		})
	}
	t.Run("pinned", func(t *testing.T) {
		// containerd's label says so to the kubelet, which then never removes the image.
		list := n.kedge(t, "ctr", "-n", "k8s.io", "images", "ls", "name=="+image.Name).Stdout
		if !strings.Contains(list, "io.cri-containerd.pinned=pinned") {
			t.Errorf("not pinned:\n%s", list)
		}
		var summary struct {
			Node struct {
				Runtime any `json:"runtime"`
			} `json:"node"`
		}
		if err := json.Unmarshal([]byte(n.kubectl(t, "get", "--raw", "/api/v1/nodes/host1/proxy/stats/summary")), &summary); err != nil {
			t.Errorf("the kubelet's summary: %v", err)
		}
	})
	t.Run("corrupt", func(t *testing.T) { corruptArchive(t, n, ns, dir) })
}

func writeVariant(t *testing.T, file string, format image.Format, name, text string) {
	t.Helper()
	img, err := image.Variant(testImage(t), text)
	if err == nil {
		err = image.Write(file, format, map[string]v1.Image{name: img})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// waitImage waits until containerd has an image.
func (n *node) waitImage(t testing.TB, name string) {
	t.Helper()
	host.Eventually(t, 30*time.Second, "image "+name, func() error {
		r := n.kedge(t, "ctr", "-n", "k8s.io", "images", "ls", "-q")
		if err := r.Check(); err != nil {
			return err
		}
		if !strings.Contains("\n"+r.Stdout, "\n"+name+"\n") {
			return &missing{r.Stdout}
		}
		return nil
	})
}

type missing struct{ list string }

func (m *missing) Error() string { return "there is only\n" + m.list }

func runVariant(t *testing.T, n *node, ns, pod, name, want string) {
	t.Helper()
	n.apply(t, ns, strings.Replace(podYAML(pod, "restartPolicy: Never", "cat", "/variant"), image.Name, name, 1))
	if got := n.output(t, ns, pod); got != want {
		t.Errorf("the image has %q, want %q", got, want)
	}
}

// corruptArchive expects a clear word on what is wrong, and that a good archive in its place works.
func corruptArchive(t *testing.T, n *node, ns, dir string) {
	name, good := "kedge.local/late:1", filepath.Join(t.TempDir(), "good.tar.gz")
	writeVariant(t, good, image.OCILayout, name, "late")
	content, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for file, bad := range map[string][]byte{
		"garbage.tar": bytes.Repeat([]byte("not an archive "), 1000),
		"late.tar.gz": content[:len(content)/2],
		"empty.tar":   nil,
	} {
		if err := os.WriteFile(filepath.Join(dir, "."+file), bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "."+file), filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
		n.waitLog(t, 30*time.Second, `(?m)^.*(WARN|ERROR).*`+strings.ReplaceAll(file, ".", `\.`)+`.*$`)
	}
	if err := n.isReady(t.Context()); err != nil {
		t.Fatalf("the node suffers from a corrupt archive: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".late.tar.gz"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, ".late.tar.gz"), filepath.Join(dir, "late.tar.gz")); err != nil {
		t.Fatal(err)
	}
	n.waitImage(t, name)
	runVariant(t, n, ns, "late", name, "late")
	for _, file := range []string{"garbage.tar", "empty.tar"} {
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Error(err)
		}
	}
}
