package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"kedge/pkg/status"
)

// follow watches this machine's Node object: it hands the pod CIDRs to the pod network, keeps the status up to date,
// and is ready when the node is Ready for the first time and pods may come.
func (a *Agent) follow(ctx context.Context, ready func()) error {
	shared, err := a.informers()
	if err != nil {
		return err
	}
	begin := time.Now().Truncate(time.Second) // the resolution of times in the API
	failed := make(chan error, 1)
	var once sync.Once
	update := func(obj any) {
		node, ok := obj.(*corev1.Node)
		if !ok || node.Name != a.Config.NodeName {
			return
		}
		if err := a.observe(node); err != nil {
			select {
			case failed <- err:
			default:
			}
			return
		}
		if isReady, _ := readiness(node); isReady && reportedSince(node, begin) && schedulable(node) {
			once.Do(ready)
		}
	}
	handler, err := shared.nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: update, UpdateFunc: func(_, obj any) { update(obj) }})
	if err != nil {
		return fmt.Errorf("follow node %s: %w", a.Config.NodeName, err)
	}
	defer shared.nodes.RemoveEventHandler(handler) //nolint:errcheck // fails for handlers of other informers only
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// observe passes on what the Node says.
func (a *Agent) observe(node *corev1.Node) error {
	isReady, reason := readiness(node)
	a.Recorder.SetNode(status.Node{
		Name: node.Name, Ready: isReady, Reason: reason, Addresses: addresses(node), PodCIDRs: node.Spec.PodCIDRs,
	})
	var cidrs []netip.Prefix
	for _, text := range node.Spec.PodCIDRs {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("parse pod CIDR of node %s: %w", node.Name, err)
		}
		cidrs = append(cidrs, p)
	}
	if len(cidrs) == 0 {
		return nil
	}
	if err := a.network.SetPodCIDRs(cidrs); err != nil {
		return fmt.Errorf("configure pod network: %w", err)
	}
	select {
	case <-a.networkUp:
	default:
		close(a.networkUp)
	}
	return nil
}

func readiness(node *corev1.Node) (bool, string) {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue, c.Message
		}
	}
	return false, "the kubelet has not reported yet"
}

// schedulable tells whether the taint that keeps pods from a node that is not ready has been taken away.
func schedulable(node *corev1.Node) bool {
	return !slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeNotReady })
}

// reportedSince tells whether the kubelet of this process has reported: a Node keeps what a former one said.
func reportedSince(node *corev1.Node, begin time.Time) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && !c.LastHeartbeatTime.Time.Before(begin)
	})
}

func addresses(node *corev1.Node) []string {
	var out []string
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP || a.Type == corev1.NodeExternalIP {
			out = append(out, a.Address)
		}
	}
	return out
}
