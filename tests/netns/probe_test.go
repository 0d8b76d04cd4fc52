package netns

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"kedge/tests/netns/space"
)

const (
	answerLimit  = 5 * time.Second        // for what must be answered: generous, for machines that are busy
	refusalLimit = 2 * time.Second        // for what must be refused at once: Linux sends SCTP's INIT again after 3 s (net.sctp.rto_initial); TCP's SYNs are counted
	dropLimit    = 300 * time.Millisecond // for what must be dropped: an answer would be there
	manyTries    = 60                     // with up to four endpoints, one of them is not met once in 10^7 runs
	firstPort    = 10000                  // from which the kernel takes none
	lastPort     = 29999                  // where node ports begin
	fewPorts     = 64                     // of a client that uses them again and again
	enoughTries  = 20                     // to find what is not wanted, when all that is wanted was found
)

// nothing is wanted where it does not matter how a connection fails: refused, dropped or without a way.
const nothing = "nothing"

// probe is a question from one name to another, in both families, and its answer.
type probe struct {
	from string
	to   string // network, then name or service, then port: "tcp web:80"
	want string // "b from a" is pod b, which saw a as the client; several answers are sorted and separated by ", "
}

// check asks every probe in both families.
func (w *world) check(t *testing.T, probes ...probe) {
	t.Helper()
	for v6 := range 2 {
		w.checkFamily(t, v6, probes...)
	}
}

func (w *world) checkFamily(t *testing.T, v6 int, probes ...probe) {
	t.Helper()
	for _, p := range probes {
		if got := w.ask(t, v6, p); got != p.want {
			t.Errorf("IPv%d, %s to %s: %q, want %q", 4+2*v6, p.from, p.to, got, p.want)
		}
	}
}

func (w *world) ask(t *testing.T, v6 int, p probe) string {
	t.Helper()
	switch p.want {
	case space.Refused:
		return w.askWithin(t, v6, p, refusalLimit)
	case space.Dropped, nothing:
		return w.askWithin(t, v6, p, dropLimit)
	}
	return w.askWithin(t, v6, p, answerLimit)
}

// askWithin asks until every answer was seen that is wanted, or many times if there may be others. Each may take as long as limit.
func (w *world) askWithin(t *testing.T, v6 int, p probe, limit time.Duration) string {
	t.Helper()
	tries := 1
	if strings.Contains(p.want, ", ") {
		tries = manyTries
	}
	network, target := w.target(t, v6, p.to)
	seen := map[string]bool{}
	for n := range tries {
		answer := w.readable(w.in[p.from].Ask(network, w.source(network, v6, p.from), target, limit))
		if p.want == nothing && slices.Contains([]string{space.Refused, space.Dropped, space.Unreachable}, answer) {
			answer = nothing
		}
		seen[answer] = true
		if answer == space.Dropped || (n >= enoughTries && len(seen) == 1+strings.Count(p.want, ", ")) {
			break
		}
	}
	var all []string
	for answer := range seen {
		all = append(all, answer)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// source is where a name's connections come from: its address, or the kernel's choice for the node, which has several. UDP never
// comes from the same port twice: the kernel would take it for the former conversation for a while, whatever the proxy says.
func (w *world) source(network string, v6 int, from string) netip.AddrPort {
	var port uint16
	if network == "udp" {
		port = uint16(firstPort + w.conversations.Add(1)%(lastPort-firstPort))
	}
	if from != "node" {
		return netip.AddrPortFrom(w.names[from][v6], port)
	}
	if port == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom([]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}[v6], port)
}

// target resolves what a probe or connection is sent to.
func (w *world) target(t *testing.T, v6 int, to string) (network, address string) {
	t.Helper()
	network, rest, _ := strings.Cut(to, " ")
	name, port, ok := strings.Cut(rest, ":")
	addresses, known := w.names[name]
	if !ok || !known {
		t.Fatalf("no such target: %q", to)
	}
	if addresses[v6].Is6() {
		return network, "[" + addresses[v6].String() + "]:" + port
	}
	return network, addresses[v6].String() + ":" + port
}

// readable writes names for addresses; all of the node's own are "node".
func (w *world) readable(answer string) string {
	server, client, ok := strings.Cut(answer, " ")
	address, err := netip.ParseAddr(client)
	if !ok || err != nil {
		return answer
	}
	for name, addresses := range w.names {
		if slices.Contains(addresses[:], address) {
			client = strings.TrimRight(name, "23")
			if strings.HasPrefix(name, "outside") {
				client = name
			}
		}
	}
	return server + " from " + client
}
