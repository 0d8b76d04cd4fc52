package addons

import (
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write testdata anew") //nolint:gochecknoglobals // a flag of the test

func TestObjects(t *testing.T) {
	for name, addresses := range map[string][]netip.Addr{
		"v4":   {netip.MustParseAddr("10.43.0.10")},
		"dual": {netip.MustParseAddr("10.43.0.10"), netip.MustParseAddr("fd00:43::a")},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := Objects(Values{ClusterDNS: addresses})
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, o := range objects {
				if _, ok := resources()[o.GroupVersionKind()]; !ok {
					t.Errorf("%s is not in the table of resources", o.GroupVersionKind())
				}
				text, err := yaml.Marshal(o.Object)
				if err != nil {
					t.Fatal(err)
				}
				b.WriteString("---\n" + string(text))
			}
			golden(t, "testdata/"+name+".yaml", b.String())
		})
	}
}

func TestDecode(t *testing.T) {
	objects, err := decode([]byte("# a comment\nkind: A\n---\n# nothing\n---\nkind: B\nspec: {n: 1}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, o := range objects {
		kinds = append(kinds, o.GetKind())
	}
	if diff := cmp.Diff([]string{"A", "B"}, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	_, err = decode([]byte("kind: A\n---\nkind: [\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "parse document 2: ") {
		t.Errorf("error %v, want one of document 2", err)
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-want +got); -update accepts it:\n%s", file, diff)
	}
}
