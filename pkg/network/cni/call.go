package cni

import (
	"encoding/json"
	"regexp"
	"strings"

	"kedge/pkg/network/cni/wire"
)

// containerIDs is the form that the CNI specification gives them (section 2).
var containerIDs = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`)

// maxLinkName is the longest name of a link, without the final zero (linux/if.h).
const maxLinkName = 15

// call is a request with its configuration decoded.
type call struct {
	wire.Request
	conf wire.Conf
}

func (c call) key() string { return attachmentKey(c.ContainerID, c.IfName) }

// dispatch answers a request; the result is nil when the command has none.
func (n *Network) dispatch(request wire.Request) (any, error) {
	c := call{Request: request}
	if err := json.Unmarshal(request.Config, &c.conf); err != nil {
		return nil, &wire.Error{Code: wire.CodeDecode, Msg: "decode network configuration", Details: err.Error()}
	}
	switch request.Command {
	case "STATUS":
		return nil, n.status()
	case "GC":
		return nil, n.collect(c)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	defer n.locks.lock(c.key())()
	switch request.Command {
	case "ADD":
		return n.add(c)
	case "DEL":
		return nil, n.del(c.ContainerID, c.IfName)
	case "CHECK":
		return nil, n.check(c)
	}
	return nil, &wire.Error{Code: wire.CodeEnvironment, Msg: "unknown CNI_COMMAND " + request.Command}
}

func (c call) validate() error {
	var found string
	switch {
	case !containerIDs.MatchString(c.ContainerID):
		found = "CNI_CONTAINERID is \"" + c.ContainerID + "\""
	case c.IfName == "" || len(c.IfName) > maxLinkName || c.IfName == "." || c.IfName == ".." || strings.ContainsAny(c.IfName, "/: \t\n"):
		found = "CNI_IFNAME is \"" + c.IfName + "\""
	case c.Netns == "" && c.Command != "DEL":
		found = "CNI_NETNS is empty"
	default:
		return nil
	}
	return &wire.Error{Code: wire.CodeEnvironment, Msg: found, Details: "the CNI specification, section 2, says what is allowed"}
}

// pod is the pod's namespace and name as the runtime gives them in CNI_ARGS.
func (c call) pod() string {
	var namespace, name string
	for pair := range strings.SplitSeq(c.Args, ";") {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "K8S_POD_NAMESPACE":
			namespace = value
		case "K8S_POD_NAME":
			name = value
		}
	}
	if name == "" {
		return ""
	}
	return namespace + "/" + name
}

// status tells whether ADD can succeed.
func (n *Network) status() error {
	if n.configured(nil) {
		return nil
	}
	return &wire.Error{Code: wire.CodeUnavailable, Msg: notConfigured}
}

const notConfigured = "the node has no pod CIDR yet: the API server gives it one when the node is registered"
