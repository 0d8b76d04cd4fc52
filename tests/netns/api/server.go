package api

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// history is how many events are kept for watches that begin or are behind.
const history = 10000

// Server holds objects. Those that it was given must not change any more.
type Server struct {
	mu      sync.Mutex
	changed chan struct{} // closed and made anew with each change
	version int
	objects map[string]map[string]runtime.Object // by resource and namespaced name
	events  map[string][]event
	lists   map[string][]byte // encoded, by resource and media type, until something changes
}

type event struct {
	kind    string
	version int
	object  runtime.Object
}

// NewServer has no objects.
func NewServer() *Server {
	return &Server{changed: make(chan struct{}), objects: map[string]map[string]runtime.Object{}, events: map[string][]event{}, lists: map[string][]byte{}}
}

// Listen serves on an address of the process's loopback until stop is called.
func (s *Server) Listen() (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen for the API: %w", err)
	}
	server := &http.Server{Handler: s}
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String(), func() { _ = server.Close() }, nil
}

// newLists are the kinds that are served, by resource.
func newLists() map[string]runtime.Object {
	return map[string]runtime.Object{
		"nodes": &v1.NodeList{}, "services": &v1.ServiceList{}, "endpointslices": &discovery.EndpointSliceList{}, "servicecidrs": &networking.ServiceCIDRList{},
	}
}

func resourceOf(object runtime.Object) string {
	switch object.(type) {
	case *v1.Node:
		return "nodes"
	case *v1.Service:
		return "services"
	case *discovery.EndpointSlice:
		return "endpointslices"
	default:
		return "servicecidrs"
	}
}

// Put creates or changes an object.
func (s *Server) Put(object runtime.Object) { s.change(object, false) }

// Delete removes an object, if it is there.
func (s *Server) Delete(object runtime.Object) { s.change(object, true) }

func (s *Server) change(object runtime.Object, remove bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	accessor, err := meta.Accessor(object)
	if err != nil {
		panic(err) // an object of the API has metadata
	}
	resource, key := resourceOf(object), accessor.GetNamespace()+"/"+accessor.GetName()
	all := s.objects[resource]
	if all == nil {
		all = map[string]runtime.Object{}
		s.objects[resource] = all
	}
	kind := "MODIFIED"
	switch {
	case remove && all[key] == nil:
		return
	case remove:
		kind = "DELETED"
		delete(all, key)
	case all[key] == nil:
		kind = "ADDED"
	}
	s.version++
	accessor.SetResourceVersion(strconv.Itoa(s.version))
	if !remove {
		all[key] = object
	}
	s.events[resource] = append(s.events[resource], event{kind, s.version, object})
	if n := len(s.events[resource]); n > 2*history {
		s.events[resource] = slices.Clone(s.events[resource][n-history:])
	}
	clear(s.lists)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Warm encodes all lists, so that clients do not wait for it.
func (s *Server) Warm() error {
	for resource := range newLists() {
		for _, info := range scheme.Codecs.SupportedMediaTypes() {
			if _, err := s.list(resource, info); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Server) list(resource string, info runtime.SerializerInfo) ([]byte, error) {
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
