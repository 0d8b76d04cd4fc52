package netns

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"kedge/tests/netns/space"
)

const (
	soakVariable = "KEDGE_SOAK"
	seedVariable = "KEDGE_SOAK_SEED"
	soakDefault  = "20s"

	anchors    = 4                      // services with an endpoint that stays
	churning   = 30                     // services that come, change and go
	askEvery   = 10 * time.Millisecond  // a new connection
	churnEvery = 15 * time.Millisecond  // a change
	checkEvery = 500 * time.Millisecond // of the open connections
	startEvery = 4 * time.Second        // of the proxy
)

// soak is a proxy under random changes while clients use services that always have an endpoint.
type soak struct {
	*live
	random *rand.Rand
	end    time.Time

	mu       sync.Mutex
	failures map[string]int
	asked    int
}

// TestSoak: random changes, restarts of the proxy, connections that stay open and new ones all the time. No connection to a service
// that had an endpoint throughout fails, and in the end the kernel has what is wanted.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv(soakVariable), soakDefault))
	check(t, err)
	if length == 0 {
		t.Skip(soakVariable + " is 0")
	}
	inNode(t, func(w *world) {
		t := w.t
		seed := uint64(time.Now().UnixNano())
		if text := os.Getenv(seedVariable); text != "" {
			_, err := fmt.Sscan(text, &seed)
			check(t, err)
		}
		t.Logf("%s=%d", seedVariable, seed)
		s := &soak{live: runProxy(t, w), random: rand.New(rand.NewPCG(seed, 1)), end: time.Now().Add(length), failures: map[string]int{}}
		for n := range anchors {
			w.names[fmt.Sprintf("lb%d", n)] = pair(fmt.Sprintf("203.0.113.%d 2001:db8:113::%x", 30+n, 30+n))
			s.put(s.anchor(n), ready("a", "d")...)
		}
		var links []link
		for n := range anchors {
			name := fmt.Sprintf("anchor%d", n)
			s.soon(t, probe{"c", "tcp " + name + ":80", "a from c, d from c"})
			for from, to := range routes(n) {
				links = append(links, s.connect(t, from, to)...)
			}
		}
		var clients sync.WaitGroup
		for n := range anchors {
			questions := s.questions(t, n) // before anything changes
			clients.Go(func() { s.client(questions) })
		}
		changes := s.churn(t, links)
		clients.Wait()
		checkLinks(t, "in the end", links)
		for what, n := range s.failures {
			t.Errorf("%s: %d times of %d connections", what, n, s.asked)
		}
		t.Logf("%d changes, %d connections", changes, s.asked)
		s.settle(t)
	})
}

// anchor is a service with every kind of address. Each second one has traffic policy Local.
func (s *soak) anchor(n int) *v1.Service {
	policy := v1.ServiceExternalTrafficPolicyCluster
	if n%2 == 1 {
		policy = v1.ServiceExternalTrafficPolicyLocal
	}
	return s.exposure(newService(fmt.Sprintf("anchor%d", n), 10+n, tcp(80)), n, policy)
}

// exposure gives a service addresses and ports that no other has.
func (s *soak) exposure(service *v1.Service, n int, policy v1.ServiceExternalTrafficPolicy) *v1.Service {
	service = balanced(exposed(service, policy), "external", "lb")
	service.Spec.HealthCheckNodePort = 0
	if policy == v1.ServiceExternalTrafficPolicyLocal {
		service.Spec.HealthCheckNodePort = 20000 + int32(n)
	}
	for i := range service.Spec.Ports {
		service.Spec.Ports[i].NodePort = 30000 + int32(10*n+i)
	}
	service.Spec.ExternalIPs = nil
	for i, ip := range []string{fmt.Sprintf("203.0.113.%d", 30+n), fmt.Sprintf("2001:db8:113::%x", 30+n)} {
		service.Status.LoadBalancer.Ingress[i].IP = ip
	}
	return service
}

// routes are the ways that clients take to an anchor.
func routes(n int) map[string]string {
	return map[string]string{
		"c": fmt.Sprintf("tcp anchor%d:80", n), "node": fmt.Sprintf("tcp anchor%d:80", n), "outside": fmt.Sprintf("tcp node:%d", 30000+10*n),
		"outside2": fmt.Sprintf("tcp lb%d:80", n), "a": fmt.Sprintf("tcp lb%d:80", n),
	}
}

// question is a connection that can be made while the world changes.
type question struct {
	from, network, target string
	in                    *space.Space
	source                netip.AddrPort
}

func (s *soak) questions(t *testing.T, n int) (all []question) {
	t.Helper()
	for from, to := range routes(n) {
		for v6 := range 2 {
			network, target := s.target(t, v6, to)
			all = append(all, question{from, network, target, s.in[from], s.source(network, v6, from)})
		}
	}
	return all
}

// client asks until the end.
func (s *soak) client(questions []question) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for i := 0; time.Now().Before(s.end); i++ {
		<-tick.C
		q := questions[i%len(questions)]
		answer := q.in.Ask(q.network, q.source, q.target, answerLimit)
		s.mu.Lock()
		s.asked++
		if name, client, ok := strings.Cut(answer, " "); !ok || len(name) != 1 || net.ParseIP(client) == nil {
			s.failures[q.from+" to "+q.target+": "+answer]++
		}
		s.mu.Unlock()
	}
}

// churn changes services and endpoints, starts the proxy anew now and then, and looks after the open connections.
func (s *soak) churn(t *testing.T, links []link) (changes int) {
	t.Helper()
	change, look, start := time.NewTicker(churnEvery), time.NewTicker(checkEvery), time.NewTicker(startEvery)
	defer change.Stop()
	defer look.Stop()
	defer start.Stop()
	for time.Now().Before(s.end) && !t.Failed() {
		select {
		case <-change.C:
			s.step()
			changes++
		case <-look.C:
			checkLinks(t, "in the soak", links)
		case <-start.C:
			s.live.end()
			s.start(t)
		}
	}
	return changes
}

// step is one random change.
func (s *soak) step() {
	if s.random.IntN(4) == 0 {
		n := s.random.IntN(anchors)
		s.put(s.anchor(n), append(ready("a"), s.some("b", "c", "d", "e")...)...)
		return
	}
	n := s.random.IntN(churning)
	name := fmt.Sprintf("churn%d", n)
	if _, exists := s.objects[name]; exists && s.random.IntN(4) == 0 {
		s.delete(name)
		return
	}
	service := newService(name, 100+n, [][]v1.ServicePort{{tcp(80)}, {udp(53), tcp(53)}, {tcp(80), tcp(81), udp(82)}}[s.random.IntN(3)]...)
	if s.random.IntN(3) == 0 {
		seconds := int32(1 + s.random.IntN(100))
		service.Spec.SessionAffinity = v1.ServiceAffinityClientIP
		service.Spec.SessionAffinityConfig = &v1.SessionAffinityConfig{ClientIP: &v1.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
	if s.random.IntN(3) == 0 {
		local := v1.ServiceInternalTrafficPolicyLocal
		service.Spec.InternalTrafficPolicy = &local
	}
	switch s.random.IntN(4) {
	case 0:
		service = s.exposure(service, 50+n, v1.ServiceExternalTrafficPolicyLocal)
	case 1:
		service = s.exposure(service, 50+n, v1.ServiceExternalTrafficPolicyCluster)
		service.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/25", "10.0.0.0/8", "2001:db8::/64"}
	}
	s.put(service, s.some("a", "b", "c", "d", "e")...)
}

// some picks names, which are ready more often than not.
func (s *soak) some(names ...string) (all []endpoint) {
	for _, name := range names {
		if s.random.IntN(2) == 0 {
			all = append(all, endpoint{name: name, unready: s.random.IntN(5) == 0, terminating: s.random.IntN(6) == 0})
		}
	}
	return all
}

// settle waits until the last change is served, ends the proxy and compares the kernel with what all objects together want.
func (s *soak) settle(t *testing.T) {
	t.Helper()
	last := newService("last", 200, tcp(80))
	s.put(last, ready("a")...)
	s.soon(t, probe{"c", "tcp last:80", "a from c"})
	s.live.end()
	s.wanted = s.compute()
	if n := s.restart(t); n != 0 {
		t.Errorf("in the end, sync found %d differences between the kernel and what is wanted", n)
	}
}
