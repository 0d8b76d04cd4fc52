// Package api is an API server in memory, for tests and benchmarks of what follows Services: it lists and watches Services,
// EndpointSlices, ServiceCIDRs and Nodes over HTTP, in JSON and protobuf. It has no selectors, no security and no validation, and
// takes and forgets whatever else it is sent, such as events.
package api
