package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func condition(kind corev1.NodeConditionType, status corev1.ConditionStatus, message string, at time.Time) corev1.NodeCondition {
	return corev1.NodeCondition{Type: kind, Status: status, Message: message, LastHeartbeatTime: metav1.NewTime(at)}
}

func TestReadiness(t *testing.T) {
	begin := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	pressure := condition(corev1.NodeMemoryPressure, corev1.ConditionTrue, "other", begin.Add(time.Hour))
	for _, c := range []struct {
		name       string
		conditions []corev1.NodeCondition
		ready      bool
		reason     string
		reported   bool
	}{
		{"no report", nil, false, "the kubelet has not reported yet", false},
		{"other conditions", []corev1.NodeCondition{pressure}, false, "the kubelet has not reported yet", false},
		{"ready in the second of the start", []corev1.NodeCondition{pressure, condition(corev1.NodeReady, corev1.ConditionTrue, "fine", begin)}, true, "fine", true},
		{"ready in a former life", []corev1.NodeCondition{condition(corev1.NodeReady, corev1.ConditionTrue, "fine", begin.Add(-time.Second))}, true, "fine", false},
		{"not ready", []corev1.NodeCondition{condition(corev1.NodeReady, corev1.ConditionFalse, "no network", begin.Add(time.Second))}, false, "no network", true},
		{"unknown", []corev1.NodeCondition{condition(corev1.NodeReady, corev1.ConditionUnknown, "silent", begin)}, false, "silent", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			node := &corev1.Node{Status: corev1.NodeStatus{Conditions: c.conditions}}
			if ready, reason := readiness(node); ready != c.ready || reason != c.reason {
				t.Errorf("readiness %v %q, want %v %q", ready, reason, c.ready, c.reason)
			}
			if got := reportedSince(node, begin); got != c.reported {
				t.Errorf("reported since the start: %v, want %v", got, c.reported)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	node := &corev1.Node{Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}, {Type: corev1.NodeHostName, Address: "a"},
		{Type: corev1.NodeInternalIP, Address: "2001:db8::1"}, {Type: corev1.NodeExternalIP, Address: "198.51.100.1"},
		{Type: corev1.NodeInternalDNS, Address: "a.internal"},
	}}}
	if diff := cmp.Diff([]string{"192.0.2.1", "2001:db8::1", "198.51.100.1"}, addresses(node)); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}
