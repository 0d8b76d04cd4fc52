package token

import (
	"fmt"
	"slices"

	"k8s.io/cluster-bootstrap/token/api"
)

// Role is what a machine may join as.
type Role string

// The roles of tokens.
const (
	Agent  Role = "agent"
	Server Role = "server"
)

const groupPrefix = api.BootstrapDefaultGroup + ":kedge:"

// ParseRole reads the name of a role.
func ParseRole(text string) (Role, error) {
	if r := Role(text); slices.Contains([]Role{Agent, Server}, r) {
		return r, nil
	}
	return "", fmt.Errorf("%q is not a role of tokens; want agent or server", text)
}

// Group is the group of users that a token of this role authenticates as.
func (r Role) Group() string { return groupPrefix + string(r) }

// RoleOf returns the role that groups, those of a request, stand for. A server's token is good for agents, too.
func RoleOf(groups []string) (Role, bool) {
	for _, r := range []Role{Server, Agent} {
		if slices.Contains(groups, r.Group()) {
			return r, true
		}
	}
	return "", false
}
