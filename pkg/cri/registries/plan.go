package registries

import (
	"net/url"
	"path"
	"slices"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

const (
	apiRoot     = "/v2"
	defaultDir  = "_default" // containerd's name for all registries without a directory of their own
	dockerName  = "docker.io"
	dockerHost  = "registry-1.docker.io"
	dockerIndex = "index.docker.io"
)

// endpoint is a server that may have the images of a registry.
type endpoint struct {
	url      *url.URL // its path is the root of the API
	settings Settings
	rewrites []Rewrite
}

// relayed tells whether containerd cannot talk to the endpoint by itself.
func (e endpoint) relayed() bool { return e.settings.Auth != nil || len(e.rewrites) > 0 }

// host is one registry as containerd knows it: one directory with one hosts.toml.
type host struct {
	name      string // as image names begin, or defaultDir
	endpoints []endpoint
	origin    *endpoint // the registry itself, when containerd's way to it needs to be changed; tried last
}

// plan computes what containerd has to be told, sorted by name.
func (r *Registries) plan() []host {
	names := map[string]bool{}
	for name := range r.Mirrors {
		names[canonical(name)] = true
	}
	for name := range r.Configs {
		names[canonical(name)] = true
	}
	var out []host
	for _, name := range sortedKeys(names) {
		h := host{name: name, endpoints: r.endpoints(r.mirror(name))}
		if name == wildcard {
			h.name = defaultDir
			if s := r.Configs[wildcard]; s.TLS != nil {
				h.origin = &endpoint{settings: s}
			}
		} else if origin := r.origin(name); origin.settings != (Settings{}) {
			h.origin = &origin
		}
		out = append(out, h)
	}
	return out
}

func (r *Registries) mirror(name string) Mirror {
	for _, n := range append(aliases(name), wildcard) {
		if m, ok := r.Mirrors[n]; ok {
			return m
		}
	}
	return Mirror{}
}

func (r *Registries) settings(u *url.URL) Settings {
	for _, n := range append(aliases(u.Host), wildcard) {
		if s, ok := r.Configs[n]; ok {
			return s
		}
	}
	return Settings{}
}

func (r *Registries) endpoints(m Mirror) []endpoint {
	var out []endpoint
	for _, text := range m.Endpoints {
		u, err := parseEndpoint(text)
		if err != nil {
			continue // Load has refused it
		}
		e := endpoint{url: u, settings: r.settings(u), rewrites: m.Rewrites}
		if u.Scheme == "http" {
			e.settings.TLS = nil
		}
		if !slices.ContainsFunc(out, func(o endpoint) bool { return *o.url == *u }) {
			out = append(out, e)
		}
	}
	return out
}

// origin is the registry itself.
func (r *Registries) origin(name string) endpoint {
	u := &url.URL{Scheme: defaultScheme(name), Host: name, Path: apiRoot}
	if name == dockerName {
		u.Host = dockerHost
	}
	s := r.settings(u)
	if s.TLS != nil {
		u.Scheme = "https"
	}
	return endpoint{url: u, settings: s}
}

// defaultScheme is what clients of registries use when none is given: TLS everywhere but to the machine itself.
func defaultScheme(host string) string {
	u := url.URL{Host: host}
	if docker.IsLocalhost(u.Hostname()) && u.Port() != "443" && u.Port() != "" {
		return "http"
	}
	return "https"
}

// canonical is the name that images of the registry begin with.
func canonical(name string) string {
	if name == dockerHost || name == dockerIndex {
		return dockerName
	}
	return name
}

// aliases are the names under which a host may be configured, its own first.
func aliases(name string) []string {
	names := []string{name}
	if canonical(name) == dockerName {
		names = append(names, dockerName, dockerHost, dockerIndex)
	}
	return names
}

// rewritten applies the first rewrite that matches.
func (e endpoint) rewritten(repository string) string {
	for _, r := range e.rewrites {
		if r.Pattern.MatchString(repository) {
			return r.Pattern.ReplaceAllString(repository, r.Replacement)
		}
	}
	return repository
}

// request is the URL of something in a repository; rest begins with a slash.
func (e endpoint) request(repository, rest string) *url.URL {
	u := *e.url
	u.Path = path.Join(u.Path, e.rewritten(repository)) + rest
	return &u
}
