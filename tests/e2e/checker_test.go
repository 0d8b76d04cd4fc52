package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kedge/tests/host"
)

const (
	checkEvery   = 50 * time.Millisecond
	checkTimeout = 2 * time.Second // of one request
	checkPath    = "/api/v1/namespaces/default/configmaps"
)

// checker writes numbered objects, one after the other, and goes to another server when one does not answer.
type checker struct {
	nodes []*node
	end   context.CancelFunc
	ended chan struct{}

	mu     sync.Mutex
	acked  []int
	last   time.Time     // of the newest acknowledgement
	gap    time.Duration // the longest since watch
	failed []string      // what servers that answered said
}

func startChecker(t *testing.T, nodes []*node) *checker {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &checker{end: cancel, ended: make(chan struct{}), last: time.Now()}
	for _, n := range nodes {
		c.nodes = append(c.nodes, &node{Host: n.Host}) // with a client of its own
	}
	go c.run(ctx)
	t.Cleanup(func() { cancel(); <-c.ended })
	return c
}

func (c *checker) run(ctx context.Context) {
	defer close(c.ended)
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	current := 0
	for number := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := c.write(ctx, c.nodes[current], number)
		if err != nil {
			c.note(err)
			current = (current + 1) % len(c.nodes)
			continue
		}
		c.mu.Lock()
		c.acked = append(c.acked, number)
		c.gap = max(c.gap, time.Since(c.last))
		c.last = time.Now()
		c.mu.Unlock()
		number++
	}
}

// errElsewhere is the answer of a server that is not there or is about to go: no write has failed.
var errElsewhere = errors.New("go to another server")

func (c *checker) write(ctx context.Context, n *node, number int) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	a, err := n.client()
	if err != nil {
		return errElsewhere
	}
	object := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("number-%d", number), Labels: map[string]string{"checker": "true"}}}
	err = a.do(ctx, http.MethodPost, checkPath, object, nil)
	switch {
	case err == nil || strings.Contains(err.Error(), "409 Conflict"): // 409: a former try was written all the same
		return nil
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), strings.Contains(err.Error(), "is off"), strings.Contains(err.Error(), "429 Too Many"),
		strings.Contains(err.Error(), "EOF"), strings.Contains(err.Error(), "no such process"):
		return errElsewhere
	}
	return fmt.Errorf("%s: number %d: %w", n.Name, number, err)
}

func (c *checker) note(err error) {
	if errors.Is(err, errElsewhere) || errors.Is(err, context.Canceled) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = append(c.failed, time.Now().Format("05.000 ")+err.Error())
}

// watch begins to measure.
func (c *checker) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gap, c.failed = 0, nil
}

// seen returns the longest time without an acknowledged write since watch, and the writes that failed.
func (c *checker) seen() (time.Duration, []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.gap, time.Since(c.last)), slices.Clone(c.failed)
}

// advance waits until more writes are acknowledged.
func (c *checker) advance(t *testing.T, writes int) {
	t.Helper()
	count := func() int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.acked) }
	before := count()
	host.Eventually(t, startLimit, "further writes", func() error {
		if now := count(); now < before+writes {
			_, failed := c.seen()
			return fmt.Errorf("%d of %d; failed %v", now-before, writes, failed)
		}
		return nil
	})
}

// stop ends the writing.
func (c *checker) stop(t *testing.T) {
	t.Helper()
	c.end()
	<-c.ended
}

// verify expects everything that was acknowledged.
func (c *checker) verify(t *testing.T, n *node) {
	t.Helper()
	var list metav1.PartialObjectMetadataList
	if err := n.mustClient(t).get(t.Context(), checkPath+"?labelSelector=checker%3Dtrue", &list); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, o := range list.Items {
		found[o.Name] = true
	}
	var lost []int
	for _, number := range c.acked {
		if !found[fmt.Sprintf("number-%d", number)] {
			lost = append(lost, number)
		}
	}
	t.Logf("%d writes were acknowledged", len(c.acked))
	if len(lost) > 0 || len(c.acked) == 0 {
		t.Errorf("lost of %d acknowledged writes: %v", len(c.acked), lost)
	}
}
