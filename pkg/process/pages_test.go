package process

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDroppable(t *testing.T) {
	const smaps = `00400000-04e24000 r-xp 00000000 08:01 42                                 /usr/local/bin/kedge
Size:              75920 kB
Rss:               57592 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
04e24000-0a7ab000 r--p 04a24000 08:01 42                                 /usr/local/bin/kedge
Anonymous:             0 kB
0a7ab000-0a953000 rw-p 0a3ab000 08:01 42                                 /usr/local/bin/kedge
Anonymous:             0 kB
0a953000-0a954000 r--p 0a3ab000 08:01 42                                 /usr/local/bin/kedge
Anonymous:             4 kB
0b000000-0b001000 r--p 00000000 08:01 43                                 /lib/libc.so.6
Anonymous:             0 kB
c000000000-c004000000 rw-p 00000000 00:00 0
Anonymous:             0 kB
`
	got, err := droppable(strings.NewReader(smaps), "/usr/local/bin/kedge")
	if err != nil {
		t.Fatal(err)
	}
	want := []span{{0x400000, 0x4e24000}, {0x4e24000, 0xa7ab000}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(span{})); diff != "" {
		t.Errorf("mappings (-want +got):\n%s", diff)
	}
}

// TestDropStartPages: a process goes on without its pages.
func TestDropStartPages(t *testing.T) {
	if err := dropStartPages(); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	if _, err := os.ReadFile("/proc/self/smaps"); err != nil {
		t.Error(err)
	}
}
