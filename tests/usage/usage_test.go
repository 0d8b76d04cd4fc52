package usage

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseStat(t *testing.T) {
	const text = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 30 70 20 0 7 0 1000 1 1"
	var got Usage
	if err := got.parseStat(text); err != nil || got != (Usage{CPU: 3 * time.Second, Children: time.Second, Threads: 7}) {
		t.Errorf("got %+v, %v; want 3s, 1s of children, 7 threads", got, err)
	}
	if err := got.parseStat("42 (a) S 1"); err == nil {
		t.Error("a short line is accepted")
	}
}

func TestOf(t *testing.T) {
	before, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	block, err := unix.Mmap(-1, 0, 64<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS) // Go may have some to spare
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(block) }()
	for i := range block {
		block[i] = byte(i)
	}
	after, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if grown := after.Anonymous - before.Anonymous; grown < 60<<20 || after.Resident < after.Anonymous {
		t.Errorf("64 MB more used: anonymous memory grew by %d bytes; %+v", grown, after)
	}
	if after.Files <= before.Files {
		t.Errorf("a file more open: %d, before %d", after.Files, before.Files)
	}
}
