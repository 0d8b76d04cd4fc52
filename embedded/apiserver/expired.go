package apiserver

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	genericapiserver "k8s.io/apiserver/pkg/server"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/util"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
)

// explainExpiredTokens tells the holder of a bootstrap token that has expired so; upstream's answer is the same as to one
// that has never been.
func explainExpiredTokens(cfg *app.Config) {
	secrets := cfg.KubeAPIs.ControlPlane.VersionedInformers.Core().V1().Secrets().Lister().Secrets(metav1.NamespaceSystem)
	front := cfg.Aggregator.GenericConfig
	inner := front.BuildHandlerChainFunc
	front.BuildHandlerChainFunc = func(handler http.Handler, c *genericapiserver.Config) http.Handler {
		return refuseExpired(inner(handler, c), secrets, legacyscheme.Codecs)
	}
}

func refuseExpired(next http.Handler, secrets listers.SecretNamespaceLister, codecs runtime.NegotiatedSerializer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
		if ok && util.IsValidBootstrapToken(token) {
			if at, over := expired(token, secrets, time.Now()); over {
				w.Header().Set("Connection", "close")
				why := apierrors.NewUnauthorized(fmt.Sprintf("it expired %s", at))
				responsewriters.ErrorNegotiated(why, codecs, schema.GroupVersion{Version: "v1"}, w, req)
				return
			}
		}
		next.ServeHTTP(w, req)
	})
}

// expired tells since when a token with the right secret is no longer good. Who has not got the secret learns nothing.
func expired(token string, secrets listers.SecretNamespaceLister, now time.Time) (string, bool) {
	id, secret, _ := strings.Cut(token, ".")
	stored, err := secrets.Get(util.BootstrapTokenSecretName(id))
	if err != nil || stored.Type != api.SecretTypeBootstrapToken {
		return "", false
	}
	if subtle.ConstantTimeCompare(stored.Data[api.BootstrapTokenSecretKey], []byte(secret)) != 1 {
		return "", false
	}
	at := string(stored.Data[api.BootstrapTokenExpirationKey])
	end, err := time.Parse(time.RFC3339, at)
	return at, err == nil && !now.Before(end)
}
