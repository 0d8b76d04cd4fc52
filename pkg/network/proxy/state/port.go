package state

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/proxy"
)

// SchedulerAnnotation of a Service names the IPVS scheduler that chooses its endpoints.
const SchedulerAnnotation = "kedge.io/proxy-scheduler"

// Port is a proxy.ServicePort with what kedge's annotations say.
type Port struct {
	*proxy.BaseServicePortInfo
	Scheduler string
}

// NewPort is what a proxy.ServiceChangeTracker is given to make its service ports.
func NewPort(_ *corev1.ServicePort, service *corev1.Service, base *proxy.BaseServicePortInfo) proxy.ServicePort {
	return &Port{base, service.Annotations[SchedulerAnnotation]}
}
