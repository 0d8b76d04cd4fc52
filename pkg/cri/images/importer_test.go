package images_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"kedge/pkg/cri"
	"kedge/pkg/cri/images"
)

const imageName = "io.containerd.image.name"

var _ interface{ Name() string } = (*images.Importer)(nil)

func TestImportAtStart(t *testing.T) {
	n := newNode(t)
	index := multiArch(t, otherArchitecture(), runtime.GOARCH)
	foreign := filesOf(t, index, otherArchitecture())
	n.put("a.tar", dockerSave(t, "start.test/docker/one:1", "start.test/docker/two:1"))
	n.put("b.tgz", gzipped(t, ociLayout(t, newImage(t, runtime.GOARCH), map[string]string{imageName: "start.test/oci:1"}, nil)))
	n.put("c.tar.zst", zstandard(t, ociLayout(t, index, map[string]string{"org.opencontainers.image.ref.name": "start.test/index:1"},
		func(file string) bool { return foreign[file] })))
	n.put("d.tar.gz", gzipped(t, ociLayout(t, newImage(t, runtime.GOARCH), map[string]string{imageName: "short:1"}, nil)))
	n.put(".hidden.tar", []byte("being copied"))
	log, stop := n.start()
	for _, want := range []string{
		"a.tar\n  images: [start.test/docker/one:1 start.test/docker/two:1]",
		"b.tgz\n  images: [start.test/oci:1]",
		"c.tar.zst\n  images: [start.test/index:1]",
		"d.tar.gz\n  images: [docker.io/library/short:1]",
	} {
		want = "INFO imported images\n  file: " + n.dir + "/" + want
		if got := strings.ReplaceAll(log.next(t), "two:1 start.test/docker/one:1", "one:1 start.test/docker/two:1"); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	want := []string{"docker/one:1 pinned=true", "docker/two:1 pinned=true", "index:1 pinned=true", "oci:1 pinned=true"}
	if got := shown(t, "start.test/"); !slices.Equal(got, want) {
		t.Errorf("the kubelet sees %q, want %q", got, want)
	}
	stop()
	log.none(t)
}

// What is there is not imported again; what vanished is, at the next start.
func TestImportAgain(t *testing.T) {
	n := newNode(t)
	n.put("a.tar", dockerSave(t, "again.test/aa:1"))
	log, stop := n.start()
	log.next(t)
	stop()

	log, stop = n.start()
	n.put("b.tar", dockerSave(t, "again.test/bb:1"))
	if got, want := log.next(t), "INFO imported images\n  file: "+n.dir+"/b.tar\n  images: [again.test/bb:1]"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	stop()

	if err := needContainerd(t).client.ImageService().Delete(t.Context(), "again.test/aa:1"); err != nil {
		t.Fatal(err)
	}
	log, stop = n.start()
	if got, want := log.next(t), "INFO imported images\n  file: "+n.dir+"/a.tar\n  images: [again.test/aa:1]"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	stop()
	log.none(t)
	if got, want := shown(t, "again.test/"), []string{"aa:1 pinned=true", "bb:1 pinned=true"}; !slices.Equal(got, want) {
		t.Errorf("the kubelet sees %q, want %q", got, want)
	}
}

// A file that is being written is left alone until it is closed; a part of one is tried again when it has changed.
func TestImportOnArrival(t *testing.T) {
	n := newNode(t)
	content := dockerSave(t, "arrival.test/slow:1")
	file := filepath.Join(n.dir, "slow.tar")
	w, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content[:len(content)/2]); err != nil {
		t.Fatal(err)
	}
	log, _ := n.start() // while half of the file is there
	n.put("fast.tar", dockerSave(t, "arrival.test/fast:1"))
	if got, want := log.next(t), "INFO imported images\n  file: "+n.dir+"/fast.tar\n  images: [arrival.test/fast:1]"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if err := w.Close(); err != nil { // as a copy that was interrupted
		t.Fatal(err)
	}
	want := "ERROR image archive cannot be imported\n  file: " + file
	if got := log.next(t); !strings.HasPrefix(got, want) {
		t.Errorf("got %s\nwant %s…", got, want)
	}
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := log.next(t), "INFO imported images\n  file: "+file+"\n  images: [arrival.test/slow:1]"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	// The folder itself may be replaced.
	if err := os.Rename(n.dir, n.dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	n.put("later.tar", dockerSave(t, "arrival.test/later:1"))
	if got, want := log.next(t), "INFO imported images\n  file: "+n.dir+"/later.tar\n  images: [arrival.test/later:1]"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestBadArchives(t *testing.T) {
	good := dockerSave(t, "bad.test/aa:1")
	img := newImage(t, runtime.GOARCH)
	partial := newImage(t, runtime.GOARCH)
	layers, err := partial.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer := must[v1.Hash](t)(layers[0].Digest())
	digest := must[v1.Hash](t)(img.Digest())
	foreign := multiArch(t, otherArchitecture())
	packed := gzipped(t, good)
	damaged := bytes.Clone(packed)
	damaged[len(damaged)-5] ^= 0xff // a checksum
	n := newNode(t)
	cases := []struct {
		file    string
		content []byte
		err     string
		mend    string
	}{
		{
			"01-empty.tar", nil,
			"read archive: the file is empty", "copy the whole file again, at best under another name that is then changed",
		},
		{
			"02-text.tar", []byte(strings.Repeat("no archive\n", 100)),
			"archive/tar: invalid tar header", "check the file, and copy it again",
		},
		{
			"03-half.tar.gz", packed[:len(packed)/2],
			`failed to ingest PART unexpected EOF`, "copy the whole file again, at best under another name that is then changed",
		},
		{
			"04-damaged.tar.gz", damaged,
			"gzip: invalid checksum", "check the file, and copy it again",
		},
		{
			"05-no-image.tar", ociLayout(t, img, nil, func(file string) bool { return file == "oci-layout" }),
			"unrecognized image format", `make it with "docker save", or "skopeo copy … oci-archive:FILE:NAME:TAG"`,
		},
		{
			"06-no-layer.tar", ociLayout(t, partial, map[string]string{imageName: "bad.test/bb:1"}, func(file string) bool { return file == layer.Hex }),
			"the archive is not complete, or damaged: it lacks " + layer.String(), "copy the whole file again, at best under another name that is then changed",
		},
		{
			"07-no-name.tar", ociLayout(t, img, map[string]string{"org.opencontainers.image.ref.name": "latest"}, nil),
			"the archive has no image that can be imported\nimage " + digest.String() + " has no name",
			`save it under a name ("docker save NAME:TAG"), or set the annotation io.containerd.image.name in its index.json`,
		},
		{
			"08-other.tar", ociLayout(t, foreign, map[string]string{imageName: "bad.test/cc:1"}, nil),
			fmt.Sprintf("the archive has no image that can be imported\nimage %s is for other machines: it is for linux/%s, this machine is linux/%s",
				must[v1.Hash](t)(foreign.Digest()), otherArchitecture(), runtime.GOARCH),
			"save the image for this machine's platform",
		},
		{
			"09-image.rar", good,
			"the file's name is not that of an image archive", "name it .tar, .tar.gz, .tgz, .tar.zst, .tzst or move it elsewhere",
		},
	}
	for _, c := range cases {
		n.put(c.file, c.content)
	}
	log, stop := n.start()
	part := regexp.MustCompile(`"[^"]+\.tar\.gz": short read: expected \d+ bytes but got \d+:`)
	for _, c := range cases {
		want := "ERROR image archive cannot be imported\n  file: " + filepath.Join(n.dir, c.file) + "\n  error: " + c.err + "\n  mend: " + c.mend
		if diff := cmp.Diff(want, part.ReplaceAllString(log.next(t), "PART")); diff != "" {
			t.Errorf("log differs (-want +got):\n%s", diff)
		}
	}
	// Nothing is said twice, and the others are imported.
	n.put("10-good.tar", good)
	if got, want := log.next(t), "INFO imported images\n  file: "+n.dir+"/10-good.tar\n  images: [bad.test/aa:1]"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	stop()
	log.none(t)
	if got, want := shown(t, "bad.test/"), []string{"aa:1 pinned=true"}; !slices.Equal(got, want) {
		t.Errorf("the kubelet sees %q, want %q", got, want)
	}
	left, err := needContainerd(t).client.ContentStore().ListStatuses(namespaces.WithNamespace(t.Context(), cri.Namespace))
	if err != nil || len(left) != 0 {
		t.Errorf("unfinished content is left: %v, %v", left, err)
	}
}

func TestImportReader(t *testing.T) {
	n := newNode(t)
	log := newLines()
	i := n.importer(log)
	for _, c := range []struct {
		name   string
		pinned bool
	}{{"reader.test/pause:1", true}, {"reader.test/other:1", false}} {
		content := dockerSave(t, c.name)
		for range 2 { // again changes nothing
			got, err := i.ImportReader(t.Context(), bytes.NewReader(content), c.pinned)
			if err != nil || !slices.Equal(got, []string{c.name}) {
				t.Errorf("ImportReader = %q, %v, want %s", got, err, c.name)
			}
		}
	}
	if got, want := shown(t, "reader.test/"), []string{"other:1 pinned=false", "pause:1 pinned=true"}; !slices.Equal(got, want) {
		t.Errorf("the kubelet sees %q, want %q", got, want)
	}
	// The name moves to another image.
	if _, err := i.ImportReader(t.Context(), bytes.NewReader(dockerSave(t, "reader.test/pause:1")), true); err != nil {
		t.Error(err)
	}
	if got, want := shown(t, "reader.test/"), []string{"other:1 pinned=false", "pause:1 pinned=true"}; !slices.Equal(got, want) {
		t.Errorf("the kubelet sees %q, want %q", got, want)
	}
	if _, err := i.ImportReader(t.Context(), strings.NewReader(""), true); err == nil || err.Error() != "import images: read archive: the file is empty" {
		t.Errorf("error of an empty archive: %v", err)
	}
	log.none(t)
}
