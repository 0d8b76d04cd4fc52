package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	csi "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	storagev1 "k8s.io/api/storage/v1"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"kedge/tests/host"
)

const csiDriver = "test.csi.example"

// fakeDriver is as much of a CSI driver as a kubelet asks for when one registers. Its embedded halves answer what is
// not implemented here.
type fakeDriver struct {
	csi.UnimplementedNodeServer
	registration.UnimplementedRegistrationServer
	endpoint string
	status   chan *registration.RegistrationStatus
}

func (*fakeDriver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: "the-node", MaxVolumesPerNode: 7}, nil
}

func (*fakeDriver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{}, nil
}

func (d *fakeDriver) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: csiDriver, Endpoint: d.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}

func (d *fakeDriver) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	select {
	case d.status <- s:
	default:
	}
	return &registration.RegistrationStatusResponse{}, nil
}

// testCSI registers a driver. The kubelet and the controller manager share the process, and upstream's CSI plug-in keeps
// a package's state for the one that was last: whoever it is, the node's driver must end up on the node's CSINode.
func testCSI(t *testing.T, n *node) {
	const kubelet = "/var/lib/kubelet"
	d := &fakeDriver{endpoint: kubelet + "/plugins/csi.sock", status: make(chan *registration.RegistrationStatus, 8)}
	server := grpc.NewServer()
	csi.RegisterNodeServer(server, d)
	registration.RegisterRegistrationServer(server, d)
	defer server.Stop()
	for _, path := range []string{d.endpoint, kubelet + "/plugins_registry/test.sock"} {
		socket := n.Path(path)
		if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		go server.Serve(l) // ends with the test
	}
	host.Eventually(t, podLimit, "driver on the node", func() error {
		var c storagev1.CSINode
		if err := n.mustClient(t).get(t.Context(), "/apis/storage.k8s.io/v1/csinodes/"+n.Name, &c); err != nil {
			return err
		}
		for _, found := range c.Spec.Drivers {
			if found.Name == csiDriver && found.NodeID == "the-node" {
				return nil
			}
		}
		said := "nothing"
		select {
		case s := <-d.status:
			said = s.String()
		default:
		}
		return fmt.Errorf("drivers %v; the kubelet said %s", c.Spec.Drivers, said)
	})
}
