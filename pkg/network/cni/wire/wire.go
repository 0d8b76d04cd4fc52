package wire

import "encoding/json"

// Versions of the CNI specification that kedge speaks, oldest first.
const (
	Version100 = "1.0.0"
	Version110 = "1.1.0"
)

// Request is one call of the runtime: its environment and its standard input.
type Request struct {
	Command     string          `json:"command"`
	ContainerID string          `json:"containerID,omitempty"`
	Netns       string          `json:"netns,omitempty"`
	IfName      string          `json:"ifName,omitempty"`
	Args        string          `json:"args,omitempty"`
	Config      json.RawMessage `json:"config"`
}

// Response is what kedge-cni prints: Error if it is set (and then ends with status 1), else Result, which may be empty.
type Response struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// Code is an error code of the CNI specification, section 5.
type Code uint

// The error codes that kedge uses. From 100 on they are the plugin's own.
const (
	CodeVersion     Code = 1 // incompatible CNI version
	CodeUnsupported Code = 2 // unsupported field in the network configuration
	CodeUnknown     Code = 3 // the container is unknown
	CodeEnvironment Code = 4 // invalid environment variable
	CodeIO          Code = 5
	CodeDecode      Code = 6
	CodeConfig      Code = 7
	CodeAgain       Code = 11 // try again later
	CodeUnavailable Code = 50 // STATUS: the plugin cannot serve ADD
	CodeInternal    Code = 100
)

// Error is the error document of the CNI specification.
type Error struct {
	CNIVersion string `json:"cniVersion"`
	Code       Code   `json:"code"`
	Msg        string `json:"msg"`
	Details    string `json:"details,omitempty"`
}

func (e *Error) Error() string {
	if e.Details == "" {
		return e.Msg
	}
	return e.Msg + ": " + e.Details
}

// VersionResult answers VERSION.
type VersionResult struct {
	CNIVersion        string   `json:"cniVersion"`
	SupportedVersions []string `json:"supportedVersions"`
}

// Supported lists the versions that kedge speaks.
func Supported() []string { return []string{Version100, Version110} }
