package apiserver

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"k8s.io/component-helpers/auth/rbac/reconciliation"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	schedulingv1 "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
	schedulingrest "k8s.io/kubernetes/pkg/registry/scheduling/rest"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

const (
	// bootstrapWorkers is how many objects are looked up or written at a time. etcd syncs concurrent writes together.
	bootstrapWorkers = 16
	bootstrapTimeout = 5 * time.Minute
)

// replaceBootstrapHooks puts hooks of kedge's in the place of two of upstream's, which begin with a pause of a second
// and then write some 200 objects one after the other, a synced write each. The objects are the same.
func replaceBootstrapHooks(cfg app.CompletedConfig) {
	cfg.KubeAPIs.ControlPlane.Generic.DisabledPostStartHooks.Insert(rbacrest.PostStartHookName, schedulingrest.PostStartHookName)
}

func addBootstrapHook(server *genericapiserver.GenericAPIServer) error {
	err := server.AddPostStartHook("kedge/bootstrap-objects", func(hook genericapiserver.PostStartHookContext) error {
		ctx, cancel := context.WithTimeout(hook, bootstrapTimeout)
		defer cancel()
		return bootstrap(ctx, hook.LoopbackClientConfig)
	})
	if err != nil {
		return fmt.Errorf("add bootstrap hook: %w", err)
	}
	return nil
}

// bootstrap makes the roles, bindings and priority classes that every cluster has, or brings them up to date.
// Users' additions to them are kept, as upstream does.
func bootstrap(ctx context.Context, loopback *rest.Config) error {
	client, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return fmt.Errorf("create client: %w", err)
	}
	// Roles come first, so that whoever is bound has rights at once.
	roles, bindings := slices.Concat(clusterRoles(client), namespacedRoles(client)), slices.Concat(clusterBindings(client), namespacedBindings(client))
	for _, jobs := range [][]job{slices.Concat(roles, priorityClasses(client)), bindings} {
		workers, workersCtx := errgroup.WithContext(ctx)
		workers.SetLimit(bootstrapWorkers)
		for _, do := range jobs {
			workers.Go(func() error { return persist(workersCtx, do) })
		}
		if err := workers.Wait(); err != nil {
			return fmt.Errorf("make bootstrap objects: %w", err)
		}
	}
	return nil
}

// job makes one object or brings it up to date.
type job func(context.Context) error

// persist repeats what another writer or a datastore that is not ready prevented.
func persist(ctx context.Context, do job) error {
	retriable := func(err error) bool {
		return ctx.Err() == nil && (apierrors.IsConflict(err) || apierrors.IsServiceUnavailable(err) ||
			apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err))
	}
	return retry.OnError(retry.DefaultBackoff, retriable, func() error { return do(ctx) })
}

func clusterRoles(client kubernetes.Interface) []job {
	var jobs []job
	for _, role := range append(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()...) {
		jobs = append(jobs, reconcile("clusterrole "+role.Name, (&reconciliation.ReconcileRoleOptions{
			Confirm: true,
			Role:    reconciliation.ClusterRoleRuleOwner{ClusterRole: &role},
			Client:  reconciliation.ClusterRoleModifier{Client: client.RbacV1().ClusterRoles()},
		}).Run))
	}
	return jobs
}

func namespacedRoles(client kubernetes.Interface) []job {
	var jobs []job
	for namespace, roles := range bootstrappolicy.NamespaceRoles() {
		for _, role := range roles {
			jobs = append(jobs, reconcile("role "+namespace+"/"+role.Name, (&reconciliation.ReconcileRoleOptions{
				Confirm: true,
				Role:    reconciliation.RoleRuleOwner{Role: &role},
				Client:  reconciliation.RoleModifier{Client: client.RbacV1(), NamespaceClient: client.CoreV1().Namespaces()},
			}).Run))
		}
	}
	return jobs
}

func clusterBindings(client kubernetes.Interface) []job {
	var jobs []job
	for _, binding := range append(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()...) {
		jobs = append(jobs, reconcile("clusterrolebinding "+binding.Name, (&reconciliation.ReconcileRoleBindingOptions{
			Confirm:     true,
			RoleBinding: reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: &binding},
			Client:      reconciliation.ClusterRoleBindingClientAdapter{Client: client.RbacV1().ClusterRoleBindings()},
		}).Run))
	}
	return jobs
}

func namespacedBindings(client kubernetes.Interface) []job {
	var jobs []job
	for namespace, bindings := range bootstrappolicy.NamespaceRoleBindings() {
		for _, binding := range bindings {
			jobs = append(jobs, reconcile("rolebinding "+namespace+"/"+binding.Name, (&reconciliation.ReconcileRoleBindingOptions{
				Confirm:     true,
				RoleBinding: reconciliation.RoleBindingAdapter{RoleBinding: &binding},
				Client:      reconciliation.RoleBindingClientAdapter{Client: client.RbacV1(), NamespaceClient: client.CoreV1().Namespaces()},
			}).Run))
		}
	}
	return jobs
}

func reconcile[Result any](what string, run func() (Result, error)) job {
	return func(context.Context) error {
		if _, err := run(); err != nil {
			return fmt.Errorf("reconcile %s: %w", what, err)
		}
		return nil
	}
}

func priorityClasses(client kubernetes.Interface) []job {
	var jobs []job
	for _, class := range schedulingv1.SystemPriorityClasses() {
		jobs = append(jobs, func(ctx context.Context) error {
			classes := client.SchedulingV1().PriorityClasses()
			_, err := classes.Get(ctx, class.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				_, err = classes.Create(ctx, class, metav1.CreateOptions{})
			}
			if err != nil && !apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("make priorityclass %s: %w", class.Name, err)
			}
			return nil
		})
	}
	return jobs
}
