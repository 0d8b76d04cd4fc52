package apiserver

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emicklei/go-restful/v3"
	"github.com/munnerz/goautoneg"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kube-openapi/pkg/builder"
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/cached"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"

	"kedge/pkg/version"
)

// Media types of OpenAPI v3 documents, as upstream names them.
const (
	mediaJSON  = "application/json"
	mediaProto = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
	// gvkExtension lists the kinds that a schema is used for.
	gvkExtension = "x-kubernetes-group-version-kind"
)

// lazyOpenAPI serves the OpenAPI documents of the built-in APIs. Upstream builds all of them at every start and keeps the
// trees they are made of: 31 MB and a fifth of the start's processor time, for documents that are asked for once in a
// while. Here a document is built when it is asked for, and kept compressed.
type lazyOpenAPI struct {
	config   *common.OpenAPIV3Config
	services map[string]*restful.WebService // by path below /openapi/v3, for example apis/apps/v1
	hashes   map[string]string
	started  time.Time

	mu        sync.Mutex
	documents map[string][]byte // gzip of the JSON document
}

// skipOpenAPI keeps upstream from building the documents.
func skipOpenAPI(cfg app.CompletedConfig) {
	cfg.KubeAPIs.ControlPlane.Generic.SkipOpenAPIInstallation = true
}

// installOpenAPI registers the documents at the places where upstream would.
func installOpenAPI(cfg app.CompletedConfig, server *genericapiserver.GenericAPIServer) {
	generic := cfg.KubeAPIs.ControlPlane.Generic
	mux, container := server.Handler.NonGoRestfulMux, server.Handler.GoRestfulContainer
	v3 := newLazyOpenAPI(generic.OpenAPIV3Config, container.RegisteredWebServices())
	mux.HandleFunc("/openapi/v3", v3.serveIndex)
	mux.HandlePrefix("/openapi/v3/", http.HandlerFunc(v3.serveDocument))

	v2 := cached.Once(cached.Func(func() (*spec.Swagger, string, error) {
		doc, err := builder.BuildOpenAPISpecFromRoutes(restfuladapter.AdaptWebServices(container.RegisteredWebServices()), generic.OpenAPIConfig)
		if err != nil {
			return nil, "", fmt.Errorf("build OpenAPI v2: %w", err)
		}
		doc.Definitions = handler.PruneDefaults(doc.Definitions)
		return doc, version.Version + version.Commit, nil
	}))
	handler.NewOpenAPIServiceLazy(v2).RegisterOpenAPIVersionedService("/openapi/v2", mux)
}

func newLazyOpenAPI(config *common.OpenAPIV3Config, services []*restful.WebService) *lazyOpenAPI {
	o := &lazyOpenAPI{
		config: config, services: map[string]*restful.WebService{}, hashes: map[string]string{},
		started: time.Now(), documents: map[string][]byte{},
	}
	for _, s := range services {
		name := strings.TrimPrefix(s.RootPath(), "/")
		o.services[name] = s
		o.hashes[name] = hashOf(s)
	}
	return o
}

// hashOf identifies a document without building it: it depends on the executable and on the routes that are enabled.
func hashOf(s *restful.WebService) string {
	var routes []string
	for _, r := range s.Routes() {
		routes = append(routes, r.Method+" "+r.Path+" "+r.Operation)
	}
	slices.Sort(routes)
	sum := sha512.Sum512([]byte(version.Version + "\n" + version.Commit + "\n" + version.Kubernetes() + "\n" + strings.Join(routes, "\n")))
	return fmt.Sprintf("%X", sum)
}

func (o *lazyOpenAPI) serveIndex(w http.ResponseWriter, r *http.Request) {
	index := handler3.OpenAPIV3Discovery{Paths: map[string]handler3.OpenAPIV3DiscoveryGroupVersion{}}
	for name, hash := range o.hashes {
		index.Paths[name] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: path.Join("/openapi/v3", name) + "?hash=" + hash}
	}
	text, err := json.Marshal(index)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Etag", strconv.Quote(fmt.Sprintf("%X", sha512.Sum512(text))))
	w.Header().Set("Content-Type", mediaJSON)
	http.ServeContent(w, r, "", o.started, bytes.NewReader(text))
}

func (o *lazyOpenAPI) serveDocument(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/openapi/v3/")
	hash, ok := o.hashes[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	media := negotiate(r.Header.Get("Accept"))
	if media == "" {
		w.WriteHeader(http.StatusNotAcceptable)
		return
	}
	if asked := r.URL.Query().Get("hash"); asked != "" {
		if asked != hash {
			http.Redirect(w, r, path.Join("/openapi/v3", name)+"?hash="+hash, http.StatusMovedPermanently)
			return
		}
		w.Header().Set("Cache-Control", "public, immutable")
		w.Header().Set("Expires", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
	}
	text, err := o.document(name)
	if err == nil && media == mediaProto {
		text, err = handler3.ToV3ProtoBinary(text)
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("build OpenAPI document of %s: %v", name, err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Vary", "Accept")
	w.Header().Set("Content-Type", media)
	w.Header().Set("Etag", strconv.Quote(hash))
	http.ServeContent(w, r, "", o.started, bytes.NewReader(text))
}

// negotiate returns the media type to answer with, or nothing when none of the accepted ones can be made.
func negotiate(accept string) string {
	if accept == "" {
		return mediaJSON
	}
	for _, clause := range goautoneg.ParseAccept(accept) {
		switch wanted := clause.Type + "/" + clause.SubType; wanted {
		case mediaJSON, "application/*", "*/*":
			return mediaJSON
		case mediaProto, "application/com.github.proto-openapi.spec.v3@v1.0+protobuf":
			return mediaProto
		}
	}
	return ""
}

// document returns the JSON document of a group version.
func (o *lazyOpenAPI) document(name string) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if packed, ok := o.documents[name]; ok {
		return unpack(packed)
	}
	doc, err := builder3.BuildOpenAPISpecFromRoutes(restfuladapter.AdaptWebServices([]*restful.WebService{o.services[name]}), o.config)
	if err != nil {
		return nil, fmt.Errorf("build from routes: %w", err)
	}
	keepOwnKinds(doc, name)
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	o.documents[name], err = pack(text)
	return text, err
}

// keepOwnKinds shortens the lists of kinds of WatchEvent and DeleteOptions, which every group registers anew, to the
// entry of the document's own group version and the one of v1.
func keepOwnKinds(doc *spec3.OpenAPI, name string) {
	own, ok := strings.CutPrefix(name, "apis/")
	group, ver, _ := strings.Cut(own, "/")
	if !ok {
		group, ver = "", strings.TrimPrefix(name, "api/")
	}
	if doc.Components == nil {
		return
	}
	for _, schema := range doc.Components.Schemas {
		kinds, ok := schema.Extensions[gvkExtension].([]any)
		if !ok || len(kinds) < 2 {
			continue
		}
		schema.Extensions[gvkExtension] = slices.DeleteFunc(slices.Clone(kinds), func(k any) bool {
			gvk, ok := k.(map[string]any)
			if !ok || gvk["kind"] != "WatchEvent" && gvk["kind"] != "DeleteOptions" {
				return false
			}
			return (gvk["group"] != group || gvk["version"] != ver) && (gvk["group"] != "" || gvk["version"] != "v1")
		})
	}
}

func pack(text []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		return nil, fmt.Errorf("compress document: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress document: %w", err)
	}
	return b.Bytes(), nil
}

func unpack(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("expand document: %w", err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("expand document: %w", err)
	}
	return text, nil
}
