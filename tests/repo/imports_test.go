package repo

import (
	"strconv"
	"strings"
	"testing"
)

const module = "kedge/"

// boundary forbids imports to the packages below some directories.
type boundary struct {
	reason  string
	from    []string          // directories
	to      []string          // import paths, each with everything below it
	allowed []string          // import paths that are allowed all the same
	except  map[string]string // directory → reason
}

var boundaries = []boundary{
	{
		reason: "upstream servers have package state and exits; embedded holds the one adapter to each",
		from:   []string{"cmd", "pkg", "tests"},
		to: []string{
			"k8s.io/kubernetes/cmd", "github.com/containerd/containerd/v2/cmd/containerd", "go.etcd.io/etcd/server/v3",
			"github.com/k3s-io/kine", "github.com/coredns/coredns", "github.com/coredns/caddy",
		},
	},
	{
		reason: "an adapter knows nothing of who uses it",
		from:   []string{"embedded"},
		to:     []string{"kedge/cmd", "kedge/pkg/cli", "kedge/pkg/server", "kedge/pkg/agent", "kedge/tests"},
	},
	{
		reason: "everything may import these, so they import nothing of kedge",
		from:   []string{"pkg/config", "pkg/lifecycle", "pkg/version"},
		to:     []string{"kedge"},
	},
	{
		reason:  "everything may import it, so it imports leaves only",
		from:    []string{"pkg/logging"},
		to:      []string{"kedge"},
		allowed: []string{"kedge/pkg/config", "kedge/pkg/lifecycle", "kedge/pkg/version"},
	},
	{
		reason:  "main is thin: the command line is pkg/cli",
		from:    []string{"cmd/kedge"},
		to:      []string{"kedge"},
		allowed: []string{"kedge/pkg/cli"},
	},
	{
		reason: "the command line is the top: only main imports it",
		from:   []string{"pkg", "embedded"},
		to:     []string{"kedge/pkg/cli", "kedge/cmd", "kedge/tests"},
		except: map[string]string{"pkg/cli": "its own parts"},
	},
	{
		reason: "a node without a control plane runs the agent alone",
		from:   []string{"pkg/agent"},
		to:     []string{"kedge/pkg/server", "kedge/embedded/apiserver", "kedge/embedded/etcd", "kedge/embedded/kine"},
	},
	{
		reason: "the payload is read before anything of kedge runs",
		from:   []string{"embedded/payload"},
		to:     []string{"kedge"},
	},
}

func TestImports(t *testing.T) {
	for _, b := range boundaries {
		for _, s := range sources(t) {
			if _, ok := b.except[exceptionFor(b, s)]; ok || !s.under(b.from...) || s.isTest() {
				continue
			}
			for _, spec := range s.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if inside(path, b.to) && !inside(path, b.allowed) && !sameTree(path, s) {
					t.Errorf("%s:%d: imports %s (%s)", s.path, s.line(spec), path, b.reason)
				}
			}
		}
	}
}

func exceptionFor(b boundary, s source) string {
	for dir := range b.except {
		if s.under(dir) {
			return dir
		}
	}
	return ""
}

// inside reports whether path is one of the trees or below.
func inside(path string, trees []string) bool {
	for _, tree := range trees {
		if path == tree || strings.HasPrefix(path, tree+"/") {
			return true
		}
	}
	return false
}

// sameTree reports whether path is a package below the importing one: a package may be split into parts.
func sameTree(path string, s source) bool {
	return strings.HasPrefix(path, module+s.dir()+"/")
}
