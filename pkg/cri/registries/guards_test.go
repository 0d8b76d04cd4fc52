package registries

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// basic asks for a name and password.
func basic(user, password string) guard {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if u, p, ok := r.BasicAuth(); ok && u == user && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// bearer asks for a token of its own for exactly one repository; each token is good for uses requests.
// The authorisation server wants the credentials that accept likes.
func bearer(t *testing.T, repository string, uses int, accept func(*http.Request) bool) guard {
	t.Helper()
	var mu sync.Mutex
	token, left := 0, 0
	scope := "repository:" + repository + ":pull"
	realm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.FormValue("scope"), scope) || !accept(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		token++
		left = uses
		fmt.Fprintf(w, `{"access_token":"token-%d","token":"token-%d","expires_in":300}`, token, token)
	}))
	t.Cleanup(realm.Close)
	return func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		header := r.Header.Get("Authorization")
		if header == fmt.Sprintf("Bearer token-%d", token) && left > 0 {
			left--
			return false
		}
		challenge := fmt.Sprintf(`Bearer realm=%q,service="test",scope=%q`, realm.URL, scope)
		if header != "" {
			challenge += `,error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// password accepts a name and password as docker's clients send them: in a form, or in the header.
func password(user, secret string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		u, p, _ := r.BasicAuth()
		return u == user && p == secret || r.FormValue("username") == user && r.FormValue("password") == secret
	}
}

func refreshToken(token string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.FormValue("refresh_token") == token }
}

func nobody(*http.Request) bool { return false }
