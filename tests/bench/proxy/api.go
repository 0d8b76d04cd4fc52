package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// store is an API server that lists and watches a few resources, in JSON and protobuf, without selectors, security or a history
// that ends. Anything else that it is sent is taken and forgotten.
type store struct {
	mu      sync.Mutex
	changed chan struct{} // closed and made anew with each change
	version int
	objects map[string]map[string]runtime.Object // by resource and name
	events  map[string][]event
	lists   map[string][]byte // encoded, by resource and media type, until something changes
}

type event struct {
	kind    string
	version int
	object  runtime.Object
}

func newStore() *store {
	return &store{changed: make(chan struct{}), objects: map[string]map[string]runtime.Object{}, events: map[string][]event{}, lists: map[string][]byte{}}
}

// put creates or changes an object, which the caller leaves alone from then on.
func (s *store) put(resource string, object runtime.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	accessor, err := meta.Accessor(object)
	if err != nil {
		panic(err) // an object of the API has metadata
	}
	s.version++
	accessor.SetResourceVersion(strconv.Itoa(s.version))
	kind := "MODIFIED"
	if s.objects[resource] == nil {
		s.objects[resource] = map[string]runtime.Object{}
	}
	if s.objects[resource][accessor.GetName()] == nil {
		kind = "ADDED"
	}
	s.objects[resource][accessor.GetName()] = object
	s.events[resource] = append(s.events[resource], event{kind, s.version, object})
	clear(s.lists)
	close(s.changed)
	s.changed = make(chan struct{})
}

// ServeHTTP implements http.Handler.
func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info := mediaType(r.Header.Get("Accept"))
	resource, name := path.Base(r.URL.Path), ""
	_, known := newLists()[resource]
	if !known {
		name, resource = resource, path.Base(path.Dir(r.URL.Path))
		_, known = newLists()[resource]
	}
	query := r.URL.Query()
	switch {
	case r.Method != http.MethodGet || !known:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Success"}`))
	case query.Get("sendInitialEvents") == "true": // clients then list and watch
		refuse(w)
	case query.Get("watch") == "true" || query.Get("watch") == "1":
		version, _ := strconv.Atoi(query.Get("resourceVersion"))
		s.watch(w, r, resource, version, info)
	case name != "":
		s.mu.Lock()
		object := s.objects[resource][name]
		s.mu.Unlock()
		if object == nil {
			http.NotFound(w, r)
			return
		}
		raw, err := encode(info, object)
		send(w, info, raw, err)
	default:
		raw, err := s.list(resource, info)
		send(w, info, raw, err)
	}
}

// list encodes all objects of a resource. The proxies shall not wait for that: it is done before they start.
func (s *store) list(resource string, info runtime.SerializerInfo) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if raw, ok := s.lists[resource+info.MediaType]; ok {
		return raw, nil
	}
	all := slices.Collect(maps.Values(s.objects[resource]))
	list := newLists()[resource]
	if err := meta.SetList(list, all); err != nil {
		return nil, fmt.Errorf("make list of %s: %w", resource, err)
	}
	accessor, err := meta.ListAccessor(list)
	if err != nil {
		return nil, fmt.Errorf("make list of %s: %w", resource, err)
	}
	accessor.SetResourceVersion(strconv.Itoa(s.version))
	raw, err := encode(info, list)
	s.lists[resource+info.MediaType] = raw
	return raw, err
}

// warm encodes all lists.
func (s *store) warm() error {
	for resource := range newLists() {
		for _, info := range scheme.Codecs.SupportedMediaTypes() {
			if _, err := s.list(resource, info); err != nil {
				return err
			}
		}
	}
	return nil
}

// next waits for events after a version.
func (s *store) next(r *http.Request, resource string, after int) []event {
	for {
		s.mu.Lock()
		all, changed := s.events[resource], s.changed
		s.mu.Unlock()
		from := len(all)
		for from > 0 && all[from-1].version > after {
			from--
		}
		if from < len(all) {
			return all[from:]
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return nil
		}
	}
}

func (s *store) watch(w http.ResponseWriter, r *http.Request, resource string, version int, info runtime.SerializerInfo) {
	w.Header().Set("Content-Type", info.MediaType+";stream=watch")
	w.WriteHeader(http.StatusOK)
	flusher := http.NewResponseController(w)
	_ = flusher.Flush()
	frames := info.StreamSerializer.Framer.NewFrameWriter(w)
	for {
		events := s.next(r, resource, version)
		if events == nil {
			return
		}
		for _, e := range events {
			raw, err := encode(info, e.object)
			if err == nil {
				err = info.StreamSerializer.Encode(&metav1.WatchEvent{Type: e.kind, Object: runtime.RawExtension{Raw: raw}}, frames)
			}
			if err != nil {
				return
			}
			version = e.version
		}
		if flusher.Flush() != nil {
			return
		}
	}
}

func send(w http.ResponseWriter, info runtime.SerializerInfo, raw []byte, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", info.MediaType)
	_, _ = w.Write(raw)
}

func encode(info runtime.SerializerInfo, object runtime.Object) ([]byte, error) {
	kinds, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		return nil, fmt.Errorf("find kind: %w", err)
	}
	return runtime.Encode(scheme.Codecs.EncoderForVersion(info.Serializer, schema.GroupVersions{kinds[0].GroupVersion()}), object)
}

func mediaType(accept string) runtime.SerializerInfo {
	all := scheme.Codecs.SupportedMediaTypes()
	for _, wanted := range strings.Split(accept, ",") {
		wanted, _, _ = strings.Cut(strings.TrimSpace(wanted), ";")
		if info, ok := runtime.SerializerInfoForMediaType(all, wanted); ok && info.StreamSerializer != nil {
			return info
		}
	}
	return all[0]
}

// refuse says in the way of an older API server that a watch cannot begin with what exists.
func refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnprocessableEntity)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid,
		Code: http.StatusUnprocessableEntity, Message: "sendInitialEvents is not supported",
	})
}
