package apiserver

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/emicklei/go-restful/v3"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	"k8s.io/kubernetes/pkg/generated/openapi"
)

// service has routes with the types that every group registers anew, which is where documents are shortened.
func service(path string, object, list any) *restful.WebService {
	ws := new(restful.WebService).Path(path).Produces("application/json").Consumes("application/json")
	none := func(*restful.Request, *restful.Response) {}
	return ws.
		Route(ws.GET("/things").To(none).Operation("listThing").Writes(list).Returns(http.StatusOK, "OK", list)).
		Route(ws.GET("/watch/things").To(none).Operation("watchThing").Writes(metav1.WatchEvent{}).Returns(http.StatusOK, "OK", metav1.WatchEvent{})).
		Route(ws.DELETE("/things/{name}").To(none).Operation("deleteThing").Param(ws.PathParameter("name", "of the thing").DataType("string")).
			Reads(metav1.DeleteOptions{}).Writes(object).Returns(http.StatusOK, "OK", object))
}

func group(path string) *restful.WebService {
	ws := new(restful.WebService).Path(path).Produces("application/json")
	none := func(*restful.Request, *restful.Response) {}
	return ws.Route(ws.GET("/").To(none).Operation("getGroup").Writes(metav1.APIGroup{}).Returns(http.StatusOK, "OK", metav1.APIGroup{}))
}

// both returns kedge's handler and upstream's for the same web services, and their names.
func both() (lazy *lazyOpenAPI, handlers map[string]http.Handler, names []string) {
	config := genericapiserver.DefaultOpenAPIV3Config(openapi.GetOpenAPIDefinitions, openapinamer.NewDefinitionNamer(legacyscheme.Scheme))
	config.Info.Version = "v1" // protobuf needs one
	container := restful.NewContainer()
	for _, ws := range []*restful.WebService{
		service("/api/v1", corev1.Pod{}, corev1.PodList{}), service("/apis/apps/v1", appsv1.Deployment{}, appsv1.DeploymentList{}),
		group("/apis/apps"), group("/version"),
	} {
		container.Add(ws)
		names = append(names, strings.TrimPrefix(ws.RootPath(), "/"))
	}
	upstream := mux.NewPathRecorderMux("upstream")
	routes.OpenAPI{V3Config: config}.InstallV3(container, upstream)
	lazy = newLazyOpenAPI(config, container.RegisteredWebServices())
	ours := http.NewServeMux()
	ours.HandleFunc("/openapi/v3", lazy.serveIndex)
	ours.HandleFunc("/openapi/v3/", lazy.serveDocument)
	return lazy, map[string]http.Handler{"kedge": ours, "upstream": upstream}, names
}

func get(t *testing.T, h http.Handler, url, accept string) *http.Response {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocuments: what is made on demand is what upstream makes at the start, also when it is asked for again.
func TestDocuments(t *testing.T) {
	_, handlers, names := both()
	for range 2 {
		for _, name := range names {
			for _, accept := range []string{mediaJSON, mediaProto, "", "text/html"} {
				url := "/openapi/v3/" + name
				ours, theirs := get(t, handlers["kedge"], url, accept), get(t, handlers["upstream"], url, accept)
				if ours.StatusCode != theirs.StatusCode || ours.Header.Get("Content-Type") != theirs.Header.Get("Content-Type") {
					t.Errorf("%s as %q: %s %q, upstream %s %q", name, accept,
						ours.Status, ours.Header.Get("Content-Type"), theirs.Status, theirs.Header.Get("Content-Type"))
				}
				want, got := body(t, theirs), body(t, ours)
				if accept == "text/html" { // refused
					continue
				}
				if len(want) < 100 {
					t.Errorf("%s as %q: upstream's document is %q", name, accept, want)
				}
				if got != want {
					t.Errorf("%s as %q: the document of %d bytes differs from upstream's of %d", name, accept, len(got), len(want))
				}
			}
		}
	}
}

// TestHashes: every name of the index leads to a document that may be cached for ever; a wrong hash leads to the right one.
func TestHashes(t *testing.T) {
	_, handlers, names := both()
	var index handler3.OpenAPIV3Discovery
	if err := json.Unmarshal([]byte(body(t, get(t, handlers["kedge"], "/openapi/v3", ""))), &index); err != nil {
		t.Fatal(err)
	}
	var listed []string
	for name, entry := range index.Paths {
		listed = append(listed, name)
		right := get(t, handlers["kedge"], entry.ServerRelativeURL, "")
		if right.StatusCode != http.StatusOK || right.Header.Get("Cache-Control") != "public, immutable" {
			t.Errorf("%s: %s, Cache-Control %q", name, right.Status, right.Header.Get("Cache-Control"))
		}
		wrong := get(t, handlers["kedge"], "/openapi/v3/"+name+"?hash=0", "")
		if wrong.StatusCode != http.StatusMovedPermanently || wrong.Header.Get("Location") != entry.ServerRelativeURL {
			t.Errorf("%s with a wrong hash: %s to %s, want %s", name, wrong.Status, wrong.Header.Get("Location"), entry.ServerRelativeURL)
		}
	}
	slices.Sort(listed)
	slices.Sort(names)
	if diff := cmp.Diff(names, listed); diff != "" {
		t.Errorf("index (-want +got):\n%s", diff)
	}
	if missing := get(t, handlers["kedge"], "/openapi/v3/apis/none/v1", ""); missing.StatusCode != http.StatusNotFound {
		t.Errorf("document that does not exist: %s", missing.Status)
	}

	first, _, _ := both()
	second, _, _ := both()
	if diff := cmp.Diff(first.hashes, second.hashes); diff != "" {
		t.Errorf("hashes of the same routes differ:\n%s", diff)
	}
	if a, b := hashOf(group("/a")), hashOf(group("/b")); a == b {
		t.Error("other routes have the same hash")
	}
}

func TestNegotiate(t *testing.T) {
	for accept, want := range map[string]string{
		"":                            mediaJSON,
		"*/*":                         mediaJSON,
		"application/*":               mediaJSON,
		"application/json;q=0.5":      mediaJSON,
		"text/html, application/json": mediaJSON,
		mediaProto:                    mediaProto,
		"application/com.github.proto-openapi.spec.v3@v1.0+protobuf": mediaProto,
		mediaJSON + ";q=0.1, " + mediaProto:                          mediaProto,
		"text/html":                                                  "",
		"application/yaml":                                           "",
	} {
		if got := negotiate(accept); got != want {
			t.Errorf("Accept %q is answered with %q, want %q", accept, got, want)
		}
	}
}

func TestFailing(t *testing.T) {
	for body, want := range map[string]string{
		"ok": "",
		"[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\n[-]poststarthook/rbac/bootstrap-roles failed: not finished\nreadyz check failed\n": "etcd poststarthook/rbac/bootstrap-roles",
	} {
		if got := failing(body); got != want {
			t.Errorf("failing checks %q, want %q", got, want)
		}
	}
}
