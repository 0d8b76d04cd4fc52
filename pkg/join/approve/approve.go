package approve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"kedge/pkg/lifecycle"
)

// Config of the approver. All fields are required.
type Config struct {
	Kubeconfig string // of who may approve for the kubelet's two signers, and read nodes and their leases
	Reserved   func() (Reserved, error)
	Log        *slog.Logger
}

const (
	again          = 2 * time.Second // between two looks at a request that has to wait
	requestTimeout = 10 * time.Second
)

// New returns the approver as a component. It sleeps on one watch.
func New(c Config) lifecycle.Component {
	return lifecycle.Func("approver", func(ctx context.Context, ready func()) error {
		cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
		if err != nil {
			return fmt.Errorf("load credentials: %w", err)
		}
		client, err := kubernetes.NewForConfig(cfg)
		if err != nil {
			return fmt.Errorf("create client: %w", err)
		}
		a := &approver{Config: c, client: client, watched: map[string]*watched{}, given: map[string]gift{}}
		return a.run(ctx, ready)
	})
}

type approver struct {
	Config
	client  kubernetes.Interface
	watched map[string]*watched // by the name of a request that waits
	given   map[string]gift     // by the name of a node
}

// run looks at all requests whenever one changes, and every two seconds while one waits. A workqueue would cost an idle
// server two wake-ups a second.
func (a *approver) run(ctx context.Context, ready func()) error {
	changed := make(chan struct{}, 1)
	wake := func(any) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	store, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(a.client.CertificatesV1().RESTClient(), "certificatesigningrequests", corev1.NamespaceAll, fields.Everything()),
		ObjectType:    &certificatesv1.CertificateSigningRequest{},
		Handler:       cache.ResourceEventHandlerFuncs{AddFunc: wake, UpdateFunc: func(_, o any) { wake(o) }},
	})
	stopped := make(chan struct{})
	go func() { defer close(stopped); informer.RunWithContext(ctx) }()
	defer func() { <-stopped }()
	ready()
	timer := time.NewTimer(again)
	defer timer.Stop()
	for {
		timer.Stop()
		if a.pass(ctx, store) {
			timer.Reset(again)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-timer.C:
		}
	}
}

// pass decides what can be decided, and tells whether something waits.
func (a *approver) pass(ctx context.Context, store cache.Store) bool {
	waits := false
	for _, o := range store.List() {
		r, ok := o.(*certificatesv1.CertificateSigningRequest)
		if !ok || ctx.Err() != nil {
			continue
		}
		pending, err := a.handle(ctx, r)
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			a.Log.Warn("a certificate request could not be decided yet", "request", r.Name, "error", err)
		}
		waits = waits || pending || err != nil
	}
	a.forget(store)
	return waits
}

// handle decides a request, and tells whether it has to wait.
func (a *approver) handle(ctx context.Context, r *certificatesv1.CertificateSigningRequest) (bool, error) {
	if len(r.Status.Conditions) > 0 {
		a.remember(r)
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	wanted, err := parse(r)
	if errors.Is(err, errOther) {
		return false, nil
	}
	if err != nil {
		return false, a.answer(ctx, r, wanted, refuse, err.Error())
	}
	w, err := a.look(ctx, r, wanted)
	if err != nil {
		return false, err
	}
	what, why := decide(wanted, w)
	if what == wait {
		return true, nil
	}
	return false, a.answer(ctx, r, wanted, what, why)
}

// answer writes the decision into the request.
func (a *approver) answer(ctx context.Context, r *certificatesv1.CertificateSigningRequest, wanted request, what verdict, why string) error {
	r = r.DeepCopy()
	condition := certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "KedgeApproved", Message: why, LastUpdateTime: metav1.Now(),
	}
	if what == refuse {
		condition.Type, condition.Reason = certificatesv1.CertificateDenied, "KedgeDenied"
	}
	r.Status.Conditions = append(r.Status.Conditions, condition)
	done, err := a.client.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, r.Name, r, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("answer request %s: %w", r.Name, err)
	}
	a.remember(done)
	if what == refuse {
		a.Log.Warn("refused a node's certificate", "request", r.Name, "by", r.Spec.Username, "node", wanted.node, "reason", why)
	} else {
		a.Log.Info("approved a node's certificate", "request", r.Name, "by", r.Spec.Username, "node", wanted.node, "serving", wanted.serving, "reason", why)
	}
	return nil
}
