package config

import (
	"fmt"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"
)

// Setting is the value of one option as it takes effect. Secrets are replaced by stars.
type Setting struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
	Origin string   `json:"origin"`           // where the values are from, such as "default" or "/etc/kedge/config.yaml:3"
	Hidden bool     `json:"hidden,omitempty"` // a value holds stars instead of a secret
	Option Option   `json:"-"`
}

// Settings returns every option of the role with the value that Resolve gives it, and Resolve's error.
func Settings(s Sources, m Machine) ([]Setting, error) {
	r := resolve(s, m)
	var out []Setting
	for _, o := range Options(s.Role) {
		values, hidden := r.shown(o)
		out = append(out, Setting{Name: o.Name, Values: values, Origin: r.origins(o.Name), Hidden: hidden, Option: o})
	}
	return out, invalid(r.problems)
}

const stars = "***"

// shown returns the values of an option without secrets, and whether there were any.
func (r *resolution) shown(o Option) (values []string, hidden bool) {
	values = texts(o.field(&r.Config))
	for i, v := range values {
		switch {
		case o.Secret && v != "":
			values[i] = stars
		case o.Name == "datastore-endpoint":
			values[i] = hidePassword(v)
		}
		hidden = hidden || values[i] != v
	}
	return values, hidden
}

// hidePassword replaces what stands between the user's name and the host of an endpoint.
func hidePassword(endpoint string) string {
	scheme, rest, ok := strings.Cut(endpoint, "://")
	at := strings.LastIndex(rest, "@")
	if !ok || at < 0 {
		return endpoint
	}
	user, _, _ := strings.Cut(rest[:at], ":")
	return scheme + "://" + user + ":" + stars + rest[at:]
}

// origins lists the places that the values of an option are from, each once.
func (r *resolution) origins(option string) string {
	var out []string
	for i := range max(1, len(r.given[option])) {
		o := r.origin(option, i).String(option)
		if len(out) == 0 || out[len(out)-1] != o {
			out = append(out, o)
		}
	}
	return strings.Join(out, ", ")
}

// texts writes the value of a field as it would be given.
func texts(field any) []string {
	switch p := field.(type) {
	case *string:
		return []string{*p}
	case *[]string:
		return append([]string{}, *p...)
	case *bool:
		return []string{strconv.FormatBool(*p)}
	case *int:
		return []string{strconv.Itoa(*p)}
	case *fs.FileMode:
		return []string{fmt.Sprintf("%04o", p.Perm())}
	case *netip.Addr:
		if !p.IsValid() {
			return []string{""}
		}
		return []string{p.String()}
	case *[]netip.Addr:
		return each(*p)
	case *[]netip.Prefix:
		return each(*p)
	case *[]Arg:
		return each(*p)
	}
	return nil
}

func each[T fmt.Stringer](values []T) []string {
	out := []string{}
	for _, v := range values {
		out = append(out, v.String())
	}
	return out
}
