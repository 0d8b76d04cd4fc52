package vs

import "fmt"

// Request is one change. What it names must not change until it has been done.
type Request struct {
	command uint8
	server  Server
	dest    Dest
}

// Add makes a virtual server without destinations.
func Add(s Server) Request { return Request{command: cmdNewService, server: s} }

// Set changes a virtual server's scheduler, flags and timeout.
func Set(s Server) Request { return Request{command: cmdSetService, server: s} }

// Delete removes a virtual server with its destinations.
func Delete(id ID) Request { return Request{command: cmdDelService, server: Server{ID: id}} }

// AddDest adds a destination.
func AddDest(id ID, d Dest) Request {
	return Request{command: cmdNewDest, server: Server{ID: id}, dest: d}
}

// SetDest changes a destination's weight.
func SetDest(id ID, d Dest) Request {
	return Request{command: cmdSetDest, server: Server{ID: id}, dest: d}
}

// DeleteDest removes a destination.
func DeleteDest(id ID, d Dest) Request {
	return Request{command: cmdDelDest, server: Server{ID: id}, dest: d}
}

func (r Request) String() string {
	switch r.command {
	case cmdNewService:
		return "add virtual server " + r.server.String()
	case cmdSetService:
		return "change virtual server " + r.server.String()
	case cmdDelService:
		return "delete virtual server " + r.server.String()
	case cmdNewDest:
		return fmt.Sprintf("add destination %s to virtual server %s", r.dest.AddrPort, r.server.ID)
	case cmdSetDest:
		return fmt.Sprintf("set weight %d of destination %s of virtual server %s", r.dest.Weight, r.dest.AddrPort, r.server.ID)
	}
	return fmt.Sprintf("delete destination %s of virtual server %s", r.dest.AddrPort, r.server.ID)
}

// IsAdd tells whether the request makes a virtual server.
func (r Request) IsAdd() bool { return r.command == cmdNewService }

// IsDelete tells whether the request deletes something.
func (r Request) IsDelete() bool { return r.command == cmdDelService || r.command == cmdDelDest }

// Instead is the request to make when the kernel says that a destination which was to be added exists, or that one which was to be
// changed does not.
func (r Request) Instead() (Request, bool) {
	switch r.command {
	case cmdNewDest:
		r.command = cmdSetDest
	case cmdSetDest:
		r.command = cmdNewDest
	default:
		return r, false
	}
	return r, true
}

// encode appends the attributes.
func (r Request) encode(b []byte) []byte {
	switch r.command {
	case cmdNewService, cmdSetService:
		return nest(b, attrService, r.server.encode)
	case cmdNewDest, cmdSetDest, cmdDelDest:
		return nest(nest(b, attrService, r.server.ID.encode), attrDest, r.dest.encode)
	}
	return nest(b, attrService, r.server.ID.encode)
}
