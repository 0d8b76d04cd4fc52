package registries

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// upstream is an endpoint that is asked on containerd's behalf.
type upstream struct {
	endpoint
	client *http.Client
	log    *slog.Logger

	mu   sync.Mutex
	auth docker.Authorizer // keeps tokens, and failures too
}

func newUpstream(e endpoint, log *slog.Logger) (*upstream, error) {
	c := &tls.Config{}
	if e.settings.TLS != nil {
		var err error
		if c, err = e.settings.TLS.config(); err != nil {
			return nil, fmt.Errorf("configure TLS of registry %s: %w", e.url.Host, err)
		}
	}
	transport := docker.DefaultHTTPTransport(c)
	transport.DisableCompression = true // lengths and digests are those of what the registry sends
	return &upstream{endpoint: e, client: &http.Client{Transport: transport}, log: log.With("registry", e.url.Host)}, nil
}

// authorizer returns the one in use; it makes a new one when there is none or it is the one to forget.
func (u *upstream) authorizer(forget docker.Authorizer) docker.Authorizer {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.auth == nil || u.auth == forget {
		u.auth = docker.NewDockerAuthorizer(docker.WithAuthClient(u.client), docker.WithAuthCreds(u.credentials))
	}
	return u.auth
}

// credentials are for the endpoint itself, not for where it may redirect to.
func (u *upstream) credentials(host string) (user, secret string, err error) {
	auth := u.settings.Auth
	switch {
	case auth == nil || host != u.url.Host:
		return "", "", nil
	case auth.IdentityToken != "":
		return "", auth.IdentityToken, nil
	}
	return auth.Username, auth.Password, nil
}

// serve asks the endpoint and hands its answer on. Redirects are followed here, where TLS is configured.
func (u *upstream) serve(w http.ResponseWriter, req *http.Request, repository, rest string) {
	target := u.request(repository, rest)
	target.RawQuery = u.query(req.URL.Query()).Encode()
	name := u.rewritten(repository)
	resp, err := u.fetch(docker.WithScope(req.Context(), "repository:"+name+":pull"), req, target)
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		u.log.Warn("registry refuses the credentials of registries.yaml", "repository", name, "error", err)
		w.Header()["Www-Authenticate"] = refused.challenge
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", u.url.Host+": "+err.Error())
		return
	case err != nil:
		if req.Context().Err() == nil {
			u.log.Warn("registry cannot be asked", "repository", name, "error", err)
		}
		refuse(w, http.StatusBadGateway, "UNAVAILABLE", u.url.Host+": "+err.Error())
		return
	}
	defer resp.Body.Close()
	for key, values := range resp.Header {
		if key != "Connection" && key != "Transfer-Encoding" && key != "Keep-Alive" {
			w.Header()[key] = values
		}
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler) // the only way to tell containerd that the body is not complete
	}
}

// query keeps containerd's hint at the registry whose mirror it asks, unless that registry is the endpoint.
func (u *upstream) query(q url.Values) url.Values {
	if canonical(u.url.Host) == q.Get("ns") {
		q.Del("ns")
	}
	return q
}

var errNoToken = errors.New("get authorisation")

// refusedError says why no credentials were accepted. The challenge is for containerd, which may have a pull secret.
type refusedError struct {
	challenge []string
	cause     error
}

func (e *refusedError) Error() string { return e.cause.Error() }
func (e *refusedError) Unwrap() error { return e.cause }

// attempts are: as far as known, with what the answer asks for, with a fresh token.
const attempts = 3

// fetch asks until the endpoint is content with the credentials. Those that containerd has itself, from a pod's pull
// secret, are passed on untouched.
func (u *upstream) fetch(ctx context.Context, from *http.Request, target *url.URL) (*http.Response, error) {
	if from.Header.Get("Authorization") != "" {
		return u.ask(ctx, from, target, nil)
	}
	auth := u.authorizer(nil)
	var answers []*http.Response
	for {
		resp, err := u.ask(ctx, from, target, auth)
		if errors.Is(err, errNoToken) {
			auth = u.authorizer(auth) // which keeps failures, too
			if len(answers) == 0 {
				continue // a token that was known has expired
			}
			return nil, &refusedError{answers[len(answers)-1].Header.Values("Www-Authenticate"), err}
		}
		if err != nil {
			return nil, err
		}
		answers = append(answers, resp)
		if resp.StatusCode != http.StatusUnauthorized || len(answers) == attempts {
			return resp, nil
		}
		if resp.Request.Header.Get("Authorization") != "" {
			auth = u.authorizer(auth)
		}
		if err := auth.AddResponses(ctx, answers); err != nil {
			return resp, nil //nolint:nilerr // containerd gets the challenge, as above
		}
		resp.Body.Close()
	}
}

func (u *upstream) ask(ctx context.Context, from *http.Request, target *url.URL, auth docker.Authorizer) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, from.Method, target.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	for _, key := range []string{"Accept", "Range", "If-None-Match", "User-Agent", "Authorization"} {
		if values := from.Header.Values(key); len(values) > 0 {
			req.Header[key] = values
		}
	}
	if auth != nil {
		if err := auth.Authorize(ctx, req); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoToken, err)
		}
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	return resp, nil
}
