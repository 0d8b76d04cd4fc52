package etcd

import (
	"flag"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/embed"

	"kedge/pkg/config"
)

// set applies the user's flags. Most are bound to the configuration; etcd's own command line copies the others by hand, and
// so must kedge, or they would be accepted and have no effect.
func set(cfg *embed.Config, flags *flag.FlagSet, args []config.Arg) error {
	for _, a := range args {
		if err := flags.Set(a.Key, a.Value); err != nil {
			return fmt.Errorf("set --etcd-arg %s: %w", a, err)
		}
		if err := setUnbound(cfg, a); err != nil {
			return fmt.Errorf("set --etcd-arg %s: %w", a, err)
		}
	}
	return nil
}

func setUnbound(cfg *embed.Config, a config.Arg) (err error) {
	switch a.Key {
	case "listen-peer-urls":
		cfg.ListenPeerUrls, err = urls(a.Value)
	case "listen-client-urls": // besides the socket, on which the API server relies
		var more []url.URL
		more, err = urls(a.Value)
		cfg.ListenClientUrls = append(cfg.ListenClientUrls, more...)
	case "listen-client-http-urls":
		cfg.ListenClientHttpUrls, err = urls(a.Value)
	case "listen-metrics-urls":
		cfg.ListenMetricsUrls, err = urls(a.Value)
	case "initial-advertise-peer-urls":
		cfg.AdvertisePeerUrls, err = urls(a.Value)
	case "advertise-client-urls":
		cfg.AdvertiseClientUrls, err = urls(a.Value)
	case "cipher-suites":
		cfg.CipherSuites = strings.Split(a.Value, ",")
	case "max-concurrent-streams":
		var n uint64
		n, err = strconv.ParseUint(a.Value, 10, 32)
		cfg.MaxConcurrentStreams = uint32(n)
	case "client-cert-allowed-hostname":
		cfg.ClientTLSInfo.AllowedHostnames = strings.Split(a.Value, ",")
	case "peer-cert-allowed-hostname":
		cfg.PeerTLSInfo.AllowedHostnames = strings.Split(a.Value, ",")
	case "peer-cert-allowed-cn":
		cfg.PeerTLSInfo.AllowedCNs = strings.Split(a.Value, ",")
	case "cors":
		cfg.CORS = members(a.Value)
	case "host-whitelist":
		cfg.HostWhitelist = members(a.Value)
	}
	return err
}

func urls(text string) ([]url.URL, error) {
	parsed, err := types.NewURLs(strings.Split(text, ","))
	if err != nil {
		return nil, fmt.Errorf("parse URLs: %w", err)
	}
	return parsed, nil
}

func members(text string) map[string]struct{} {
	set := map[string]struct{}{}
	for m := range strings.SplitSeq(text, ",") {
		set[m] = struct{}{}
	}
	return set
}
