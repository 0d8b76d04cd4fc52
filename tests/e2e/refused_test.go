package e2e

import (
	"os"
	"strings"
	"testing"
)

// TestServerRefused: a server that may not join, or would be another than the cluster's, says why and leaves nothing behind.
func TestServerRefused(t *testing.T) {
	nodes := newNodes(t, 2)
	first, second := nodes[0], nodes[1]
	first.start(t)
	first.waitReady(t)
	good := first.serverToken(t)
	wrongSecret, wrongRoot := good[:len(good)-1]+"0", "0"+good[1:]
	if wrongSecret == good {
		wrongSecret = good[:len(good)-1] + "1"
	}
	if wrongRoot == good {
		wrongRoot = "1" + good[1:]
	}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"an agent's token": {[]string{"--token", first.token(t)}, 1, "is for agents: make one with kedge token create --role server"},
		"no token":         {nil, 1, "needs a token: make one on a server with kedge token create --role server"},
		"a wrong secret":   {[]string{"--token", wrongSecret}, 1, "the cluster does not know token"},
		"another root":     {[]string{"--token", wrongRoot}, 1, "the server is of another cluster, or somebody is in between"},
		"other values": {[]string{"--token", good, "--cluster-domain", "other.example"}, 2,
			`--cluster-domain: "other.example" is given here and the cluster has "cluster.local"`},
	} {
		r := second.kedge(t, append([]string{"server", "--server", first.url()}, c.args...)...)
		if r.Code != c.code || !strings.Contains(r.Stderr, c.want) {
			t.Errorf("%s: status %d, want %d and %q:\n%s", name, r.Code, c.code, c.want, lastLines(r.Stderr, 3))
		}
		for _, secret := range []string{wrongSecret, good} {
			if _, secret, _ := strings.Cut(secret, "."); strings.Contains(r.Stdout+r.Stderr, secret) {
				t.Errorf("%s: the secret is in the output", name)
			}
		}
	}
	for _, file := range []string{"/server/tls", "/server/membership.json", "/server/db"} {
		if _, err := os.Stat(second.Path(dataDir + file)); !os.IsNotExist(err) {
			t.Errorf("%s is there: %v", file, err)
		}
	}
	id, _, _ := strings.Cut(good[strings.Index(good, "::")+2:], ".")
	if r := first.kedge(t, "token", "delete", id); r.Code != 0 {
		t.Errorf("delete token: %+v", r)
	}
	if r := first.tryKubectl(t, "", "get", "secret", "-n", "kube-system", "kedge-bundle"); !strings.Contains(r.Stderr, "NotFound") {
		t.Errorf("the authorities are still handed out: %+v", r)
	}
	if r := first.kedge(t, "etcd", "member", "remove", "host1"); r.Code != 1 || !strings.Contains(r.Stderr, "it is the only one; kedge reset ends a cluster") {
		t.Errorf("removal of the only member: %+v", r)
	}
}
