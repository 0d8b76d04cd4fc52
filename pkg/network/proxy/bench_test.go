package proxy

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"kedge/pkg/network/proxy/state"
)

// BenchmarkChange measures what one changed EndpointSlice costs before the backend is told, by the number of services with five endpoints.
func BenchmarkChange(b *testing.B) {
	for _, services := range []int{1000, 10000} {
		b.Run(fmt.Sprint(services), func(b *testing.B) {
			w := newWishes(state.Node{Name: "here"}, true, false)
			f := w.families[0]
			endpoints := func(i, last int) []string {
				at := fmt.Sprintf("10.%d.%d.", 100+i/250, i%250)
				return []string{at + "1", at + "2", at + "3", at + "4", at + fmt.Sprint(last)}
			}
			for i := range services {
				name := fmt.Sprintf("s%d", i)
				f.service(nil, service(name, fmt.Sprintf("10.43.%d.%d", 1+i/250, 1+i%250)))
				f.slice(slice(name, corev1.ProtocolTCP, endpoints(i, 5)...), false)
			}
			if n := len(w.collect().changes); n != services {
				b.Fatalf("%d changes", n)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				f.slice(slice("s7", corev1.ProtocolTCP, endpoints(7, 5+i%2)...), false)
				if n := len(w.collect().changes); n > 1 || i > 0 && n == 0 {
					b.Fatalf("%d changes", n)
				}
			}
		})
	}
}
