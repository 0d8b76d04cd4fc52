// Package tunnel carries the API server's connections to kubelets (logs, exec, attach, port-forward, metrics, the proxy of nodes)
// through a connection that the node opened, so that nothing has to reach the node. pkg/agent runs a Client; pkg/server makes a Server,
// which embedded/apiserver mounts and dials with.
//
// A node connects to the port of every API server that it knows, directly, with its own certificate, and upgrades a request of Path. Then the
// roles turn around: the node serves HTTP/2 and the API server sends one CONNECT request for each connection. The node leads every one of
// them to its own kubelet and nowhere else, whatever the request names.
//
// Who may use a tunnel is decided twice. The API server authenticates and authorizes the upgrade, and the tunnel belongs to the node that the
// certificate names. Inside of it API server and kubelet speak TLS with each other as they do without it: a node
// that got a connection meant for another one cannot answer it.
//
// The API server dials addresses; Node objects say whose they are. When several nodes claim one, the API server's own comes first, then the one
// whose tunnel comes from that address, then the oldest. Without a tunnel the connection is made directly. A tunnel that was
// there a moment ago, or may not have come yet after a start, is waited for beside that.
//
// At rest a tunnel costs a packet every few seconds, which the kernels exchange (TCP keep-alive), and no time of the process. A tunnel that
// does not answer is given up within seconds of its next use.
package tunnel
