package cni

import (
	"fmt"
	"testing"

	"kedge/pkg/network/cni/wire"
)

// BenchmarkADD measures one ADD and one DEL of a pod with both families, over the socket, without and with a host port.
func BenchmarkADD(b *testing.B) {
	if !inNode(b) {
		return
	}
	newOutside(b)
	n := startDual(b, testConfig(b))
	for name, rt := range map[string]wire.Runtime{"plain": {}, "hostPort": ports("tcp 30080 8080", "udp 30080 8080")} {
		for i := range 100 { // a busy node
			n.call(b, "ADD", fmt.Sprint(name, i), newSpace(b).path, wire.Runtime{})
		}
		s := newSpace(b)
		b.Run(name+"/ADD", func(b *testing.B) {
			for b.Loop() {
				if r := n.call(b, "ADD", "bench", s.path, rt); r.Error != nil {
					b.Fatal(r.Error)
				}
				b.StopTimer()
				n.call(b, "DEL", "bench", s.path, rt)
				b.StartTimer()
			}
		})
		b.Run(name+"/DEL", func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				n.call(b, "ADD", "bench", s.path, rt)
				b.StartTimer()
				n.call(b, "DEL", "bench", s.path, rt)
			}
		})
	}
}
