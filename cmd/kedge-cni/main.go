// Command kedge-cni is what the container runtime starts for every call of the Container Network Interface. It hands
// its environment and standard input to the kedge process over the Unix socket that the network configuration names,
// and prints the answer. It is small because it is started for every pod; all the work is done in pkg/network/cni.
package main

import (
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"

	"kedge/pkg/network/cni/wire"
)

func main() { os.Exit(run(os.Getenv, os.Stdin, os.Stdout)) }

// run answers one call and returns the exit status.
func run(getenv func(string) string, stdin io.Reader, stdout io.Writer) int {
	version := wire.Version100
	result, err := answer(getenv, stdin, &version)
	if err != nil {
		err.CNIVersion = version
		return write(stdout, err, 1)
	}
	if len(result) == 0 {
		return 0
	}
	return write(stdout, result, 0)
}

func write(stdout io.Writer, document any, status int) int {
	if err := json.NewEncoder(stdout).Encode(document); err != nil {
		return 1
	}
	return status
}

// answer finds the result; version becomes that of the caller's configuration when kedge speaks it.
func answer(getenv func(string) string, stdin io.Reader, version *string) (json.RawMessage, *wire.Error) {
	raw, err := io.ReadAll(stdin)
	if err != nil {
		return nil, fail(wire.CodeIO, "read network configuration from standard input", err.Error())
	}
	var conf wire.Conf
	if err := json.Unmarshal(raw, &conf); err != nil {
		return nil, fail(wire.CodeDecode, "decode network configuration", err.Error())
	}
	command := getenv("CNI_COMMAND")
	supported := slices.Contains(wire.Supported(), conf.CNIVersion)
	if supported {
		*version = conf.CNIVersion
	}
	switch {
	case command == "VERSION":
		return versions(conf.CNIVersion)
	case !slices.Contains([]string{"ADD", "DEL", "CHECK", "STATUS", "GC"}, command):
		return nil, fail(wire.CodeEnvironment, "CNI_COMMAND is \""+command+"\"", "want ADD, DEL, CHECK, STATUS, GC or VERSION")
	case !supported:
		return nil, fail(wire.CodeVersion, "cniVersion is \""+conf.CNIVersion+"\"", "kedge-cni speaks "+strings.Join(wire.Supported(), " and "))
	case conf.Socket == "":
		return nil, fail(wire.CodeConfig, "the network configuration names no \"socket\"", "kedge writes it; restart kedge")
	}
	return ask(conf.Socket, wire.Request{
		Command: command, ContainerID: getenv("CNI_CONTAINERID"), Netns: getenv("CNI_NETNS"),
		IfName: getenv("CNI_IFNAME"), Args: getenv("CNI_ARGS"), Config: raw,
	})
}

func versions(asked string) (json.RawMessage, *wire.Error) {
	if asked == "" {
		asked = wire.Version110
	}
	result, err := json.Marshal(wire.VersionResult{CNIVersion: asked, SupportedVersions: wire.Supported()})
	if err != nil {
		return nil, fail(wire.CodeInternal, "encode versions", err.Error())
	}
	return result, nil
}

func fail(code wire.Code, msg, details string) *wire.Error {
	return &wire.Error{Code: code, Msg: msg, Details: details}
}
