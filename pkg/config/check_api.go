package config

import (
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// maxSocketPath is the length in bytes of the longest name of a Unix socket (unix(7): 108 with the closing zero).
const maxSocketPath = 107

func (r *resolution) checkGeneral() {
	for _, option := range []string{"data-dir", "registries-config", "write-kubeconfig"} {
		o, _ := lookup(option)
		if path := *(o.field(&r.Config).(*string)); o.Of(r.Role) && !filepath.IsAbs(path) {
			r.fail(option, 0, "%q is not an absolute path", path)
		}
	}
	if !r.sound("data-dir") {
		return
	}
	if r.Layout.DataDir == "/" {
		r.fail("data-dir", 0, "the root directory cannot be the data directory; use one of its own, such as %s", DefaultDataDir)
		return
	}
	longest := slices.MaxFunc(r.Layout.Sockets(), func(a, b string) int { return len(a) - len(b) })
	if over := len(longest) - maxSocketPath; over > 0 {
		r.fail("data-dir", 0, "%q is too long by %d bytes: the name of the socket %s would have %d, and the kernel takes %d",
			r.Layout.DataDir, over, longest, len(longest), maxSocketPath)
	}
}

func (r *resolution) checkJoin() {
	if r.Token != "" && r.TokenFile != "" {
		r.fail("token", 0, "token-file is given as well (%s); use one of them", r.origin("token-file", 0).String("token-file"))
	}
	if r.Server == "" {
		switch {
		case r.Role == RoleAgent:
			r.fail("server", 0, "an agent needs the address of a server; set --server https://host:6443")
		case r.Token != "" || r.TokenFile != "":
			r.fail("server", 0, "a token is given, which is for joining a cluster; set --server https://host:6443, or leave the token out")
		}
		return
	}
	u, err := url.Parse(r.Server)
	switch {
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil:
		r.fail("server", 0, "%q is not of the form https://host:6443", r.Server)
	case u.Port() == "":
		r.fail("server", 0, "%q has no port; write https://%s:6443", r.Server, u.Host)
	}
}

func (r *resolution) checkAPI() {
	if r.sound("https-listen-port") && (r.HTTPSListenPort < 1 || r.HTTPSListenPort > 65535) {
		r.fail("https-listen-port", 0, "%d is not a port; want 1 to 65535", r.HTTPSListenPort)
	}
	for i, name := range r.TLSSANs {
		if _, err := netip.ParseAddr(name); err != nil && !isDNSName(name) {
			r.fail("tls-san", i, "%q is neither a DNS name nor an IP address", name)
		}
	}
	if errs := validation.IsDNS1123Subdomain(r.ClusterDomain); len(errs) > 0 {
		r.fail("cluster-domain", 0, "%q is not a DNS domain", r.ClusterDomain)
	}
	r.checkDatastore()
}

func isDNSName(name string) bool {
	name = strings.ToLower(name)
	return len(validation.IsDNS1123Subdomain(name)) == 0 || len(validation.IsWildcardDNS1123Subdomain(name)) == 0
}

// checkDatastore refuses what would be ignored.
func (r *resolution) checkDatastore() {
	if r.DatastoreEndpoint != "" {
		r.fail("datastore-endpoint", 0, "this version keeps the cluster's state in its embedded etcd only; leave the option out")
	}
}

// checkAdvertise wants an address that others can reach, of the family of the kubernetes service.
func (r *resolution) checkAdvertise() {
	if !r.sound("advertise-address", "node-ip") || !r.AdvertiseAddress.IsValid() {
		return
	}
	a := r.AdvertiseAddress
	if why := unusable(a); why != "" {
		r.fail("advertise-address", 0, "%s %s; pods and other machines have to reach the API server at it", a, why)
	}
	if is6 := r.ServiceCIDRs[0].Addr().Is6(); a.Is6() != is6 {
		r.fail("advertise-address", 0, "%s is not %s like %s", a, family(is6), r.about("service-cidr", 0))
	}
}
