package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
		fail(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
	case query.Get("watch") == "true" || query.Get("watch") == "1":
		version, err := strconv.Atoi(query.Get("resourceVersion"))
		if err != nil {
			fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
			return
		}
		s.watch(w, r, resource, version, info)
	case name != "":
		s.get(w, resource, name, info)
	default:
		raw, err := s.list(resource, info)
		send(w, info, raw, err)
	}
}

// get is for nodes: other resources are in namespaces, and nobody gets them one by one.
func (s *Server) get(w http.ResponseWriter, resource, name string, info runtime.SerializerInfo) {
	s.mu.Lock()
	object := s.objects[resource]["/"+name]
	s.mu.Unlock()
	if object == nil {
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound)
		return
	}
	raw, err := encode(info, object)
	send(w, info, raw, err)
}

// next waits for events after a version; lost says that some of them are not known any more.
func (s *Server) next(r *http.Request, resource string, after int) (events []event, lost bool) {
	for {
		s.mu.Lock()
		all, changed := s.events[resource], s.changed
		s.mu.Unlock()
		from := len(all)
		for from > 0 && all[from-1].version > after {
			from--
		}
		if from < len(all) {
			return all[from:], from == 0 && len(all) >= history
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return nil, false
		}
	}
}

func (s *Server) watch(w http.ResponseWriter, r *http.Request, resource string, version int, info runtime.SerializerInfo) {
	w.Header().Set("Content-Type", info.MediaType+";stream=watch")
	w.WriteHeader(http.StatusOK)
	flusher := http.NewResponseController(w)
	_ = flusher.Flush()
	frames := info.StreamSerializer.NewFrameWriter(w)
	for {
		events, lost := s.next(r, resource, version)
		if len(events) == 0 || lost {
			return // the client lists again
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

func fail(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: reason, Code: int32(code),
	})
}

func encode(info runtime.SerializerInfo, object runtime.Object) ([]byte, error) {
	kinds, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		return nil, fmt.Errorf("find kind: %w", err)
	}
	raw, err := runtime.Encode(scheme.Codecs.EncoderForVersion(info.Serializer, schema.GroupVersions{kinds[0].GroupVersion()}), object)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", kinds[0], err)
	}
	return raw, nil
}

func mediaType(accept string) runtime.SerializerInfo {
	all := scheme.Codecs.SupportedMediaTypes()
	for wanted := range strings.SplitSeq(accept, ",") {
		wanted, _, _ = strings.Cut(strings.TrimSpace(wanted), ";")
		if info, ok := runtime.SerializerInfoForMediaType(all, wanted); ok && info.StreamSerializer != nil {
			return info
		}
	}
	return all[0]
}
