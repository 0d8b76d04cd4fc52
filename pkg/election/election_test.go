package election

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"kedge/pkg/lifecycle"
)

// diary is what happened, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) write(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, ", ")
}

// server takes part in an election.
type server struct {
	many chan struct{}
	held chan struct{} // closed when it reckons with others
	stop context.CancelFunc
	err  chan error
}

// start runs a server whose component writes when it starts and stops, taking a second to stop.
func start(t *testing.T, d *diary, client kubernetes.Interface, name string, many bool) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &server{many: make(chan struct{}), held: make(chan struct{}), stop: cancel, err: make(chan error, 1)}
	if many {
		close(s.many)
	}
	o := Options{
		Lease: "l", Identity: name, Client: client, Many: s.many, Log: slog.New(slog.DiscardHandler),
		Held: sync.OnceFunc(func() { close(s.held) }),
	}
	c := New(o, func() lifecycle.Component {
		return lifecycle.Func("work", func(ctx context.Context, ready func()) error {
			d.write(name + " works")
			ready()
			<-ctx.Done()
			<-time.After(time.Second)
			d.write(name + " stops")
			return nil
		})
	})
	go func() { s.err <- c.Run(ctx, func() { d.write(name + " is ready") }) }()
	return s
}

func lease(t *testing.T, client kubernetes.Interface) *coordinationv1.Lease {
	t.Helper()
	l, err := client.CoordinationV1().Leases("kube-system").Get(t.Context(), "l", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// bubble runs test with a clock that stands still while something happens.
func bubble(t *testing.T, test func(t *testing.T, d *diary, client kubernetes.Interface)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, &diary{}, fake.NewSimpleClientset()) })
}

func after(wait time.Duration) {
	<-time.After(wait)
	synctest.Wait()
}

func expect(t *testing.T, d *diary, want ...string) {
	t.Helper()
	if got := d.text(); got != strings.Join(want, ", ") {
		t.Errorf("happened: %s\nwant:     %s", got, strings.Join(want, ", "))
	}
}

// TestAlone: one server writes no lease, and takes it without a pause when others may come.
func TestAlone(t *testing.T) {
	bubble(t, func(t *testing.T, d *diary, client kubernetes.Interface) {
		a := start(t, d, client, "a", false)
		after(time.Hour)
		if l := lease(t, client); l != nil {
			t.Errorf("a lease of %s", *l.Spec.HolderIdentity)
		}
		select {
		case <-a.held:
			t.Error("it reckons with others")
		default:
		}
		close(a.many)
		<-a.held
		if l := lease(t, client); l == nil || *l.Spec.HolderIdentity != "a" {
			t.Errorf("lease %v", l)
		}
		a.stop()
		if err := <-a.err; err != nil {
			t.Error(err)
		}
		expect(t, d, "a works", "a is ready", "a stops")
	})
}

// TestHandOver: the second stands by, and works when the first has stopped working and given the lease back.
func TestHandOver(t *testing.T) {
	bubble(t, func(t *testing.T, d *diary, client kubernetes.Interface) {
		a := start(t, d, client, "a", true)
		after(time.Second)
		b := start(t, d, client, "b", true)
		after(time.Minute)
		<-a.held
		<-b.held
		expect(t, d, "a works", "a is ready", "b is ready")
		begin := time.Now()
		a.stop()
		if err := <-a.err; err != nil {
			t.Error(err)
		}
		after(6 * time.Second)
		if got := lease(t, client); *got.Spec.HolderIdentity != "b" || got.Spec.AcquireTime.Sub(begin) > 6*time.Second {
			t.Errorf("%s holds the lease since %s", *got.Spec.HolderIdentity, got.Spec.AcquireTime.Sub(begin))
		}
		b.stop()
		<-b.err
		lines := strings.Split(d.text(), ", ")
		if slices.Index(lines, "a stops") > slices.Index(lines, "b works") {
			t.Errorf("both worked: %s", d.text())
		}
	})
}

// TestLost: who loses the lease stops and works again when it is won again, in the same process.
func TestLost(t *testing.T) {
	bubble(t, func(t *testing.T, d *diary, client kubernetes.Interface) {
		a := start(t, d, client, "a", true)
		after(5 * time.Second)
		begin := time.Now()
		client.(*fake.Clientset).PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			if time.Since(begin) > 20*time.Second {
				return false, nil, nil
			}
			return true, nil, errors.New("the datastore has lost its quorum")
		})
		after(14 * time.Second) // a gives up after 10 s and stops within one more
		expect(t, d, "a works", "a is ready", "a stops")
		after(10 * time.Second)
		expect(t, d, "a works", "a is ready", "a stops", "a works")
		a.stop()
		if err := <-a.err; err != nil {
			t.Error(err)
		}
	})
}

// TestFailure: a component that fails ends the election with its error, and gives the lease back.
func TestFailure(t *testing.T) {
	bubble(t, func(t *testing.T, d *diary, client kubernetes.Interface) {
		many := make(chan struct{})
		close(many)
		broken := errors.New("broken")
		c := New(Options{Lease: "l", Identity: "a", Client: client, Many: many, Held: func() {}, Log: slog.New(slog.DiscardHandler)}, func() lifecycle.Component {
			return lifecycle.Func("work", func(context.Context, func()) error { return broken })
		})
		if err := c.Run(t.Context(), func() {}); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
		if got := lease(t, client); *got.Spec.HolderIdentity != "" {
			t.Errorf("%s still holds the lease", *got.Spec.HolderIdentity)
		}
	})
}
