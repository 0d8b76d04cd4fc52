package addons

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
)

//go:embed objects/*.yaml
var files embed.FS

// Values are what the objects need to know of the cluster.
type Values struct {
	ClusterDNS []netip.Addr // empty: the cluster has no DNS of kedge's, and no service for it
}

// resources maps the kinds that the objects use to their resources, so that no discovery is needed.
func resources() map[schema.GroupVersionKind]schema.GroupVersionResource {
	rbac := schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
	core := schema.GroupVersion{Version: "v1"}
	return map[schema.GroupVersionKind]schema.GroupVersionResource{
		rbac.WithKind("Role"):               rbac.WithResource("roles"),
		rbac.WithKind("RoleBinding"):        rbac.WithResource("rolebindings"),
		rbac.WithKind("ClusterRole"):        rbac.WithResource("clusterroles"),
		rbac.WithKind("ClusterRoleBinding"): rbac.WithResource("clusterrolebindings"),
		core.WithKind("Service"):            core.WithResource("services"),
	}
}

// Objects returns kedge's own objects in the order in which they are applied.
func Objects(v Values) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	names, err := fs.Glob(files, "objects/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		objects, err := decode(text)
		if err != nil {
			return nil, fmt.Errorf("decode %s: %w", name, err)
		}
		all = append(all, objects...)
	}
	isDNS := func(o *unstructured.Unstructured) bool { return o.GetKind() == "Service" && o.GetName() == "kube-dns" }
	if len(v.ClusterDNS) == 0 {
		return slices.DeleteFunc(all, isDNS), nil
	}
	for _, o := range all {
		if isDNS(o) {
			setAddresses(o, v.ClusterDNS)
		}
	}
	return all, nil
}

func decode(text []byte) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for number := 1; ; number++ {
		o := &unstructured.Unstructured{}
		switch err := decoder.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("parse document %d: %w", number, err)
		case len(o.Object) == 0: // nothing but a comment
			continue
		}
		all = append(all, o)
	}
}

func setAddresses(service *unstructured.Unstructured, addresses []netip.Addr) {
	var ips []any
	for _, a := range addresses {
		ips = append(ips, a.String())
	}
	policy := "SingleStack"
	if len(ips) > 1 {
		policy = "RequireDualStack"
	}
	spec := service.Object["spec"].(map[string]any) //nolint:forcetypeassert // the file is ours
	spec["clusterIP"], spec["clusterIPs"], spec["ipFamilyPolicy"] = ips[0], ips, policy
}
