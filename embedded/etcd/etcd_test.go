package etcd

import (
	"log/slog"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/server/v3/embed"

	"kedge/pkg/config"
)

func bare(t *testing.T, args ...config.Arg) Config {
	t.Helper()
	dir := t.TempDir()
	return Config{
		Name: "a", Dir: filepath.Join(dir, "db"), Socket: filepath.Join(dir, "run", "etcd.sock"), Peer: "127.0.0.1:2380", Advertise: "https://192.0.2.1:2380",
		Client: TLS{"c.crt", "c.key", "ca.crt"}, Members: TLS{"p.crt", "p.key", "ca.crt"},
		Args: args, Log: slog.New(slog.DiscardHandler),
	}
}

// TestEmbed: both sides are under mutual TLS, clients arrive on the socket and peers, who are told another address, on loopback.
func TestEmbed(t *testing.T) {
	c := bare(t)
	cfg, err := c.embed()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Endpoint(), "unixs://"+c.Socket; got != want {
		t.Errorf("endpoint %s, want %s", got, want)
	}
	for what, c := range map[string]struct{ got, want []string }{
		"clients":        {texts(cfg.ListenClientUrls), []string{c.Endpoint()}},
		"peers":          {texts(cfg.ListenPeerUrls), []string{"https://127.0.0.1:2380"}},
		"known to peers": {texts(cfg.AdvertisePeerUrls), []string{"https://192.0.2.1:2380"}},
		"cluster":        {[]string{cfg.InitialCluster}, []string{"a=https://192.0.2.1:2380"}},
		"client TLS":     {[]string{cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile, cfg.ClientTLSInfo.TrustedCAFile}, []string{"c.crt", "c.key", "ca.crt"}},
		"peer TLS":       {[]string{cfg.PeerTLSInfo.CertFile, cfg.PeerTLSInfo.KeyFile, cfg.PeerTLSInfo.TrustedCAFile}, []string{"p.crt", "p.key", "ca.crt"}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	if !cfg.ClientTLSInfo.ClientCertAuth || !cfg.PeerTLSInfo.ClientCertAuth {
		t.Error("certificates of the other side are not asked for")
	}
	if len(cfg.ListenMetricsUrls) > 0 || len(cfg.ListenClientHttpUrls) > 0 {
		t.Errorf("further listeners %v %v", cfg.ListenMetricsUrls, cfg.ListenClientHttpUrls)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

// TestArgs has one flag of each way in which etcd keeps them.
func TestArgs(t *testing.T) {
	for _, c := range []struct {
		arg  config.Arg
		got  func(c *embed.Config) any
		want any
	}{
		{config.Arg{Key: "quota-backend-bytes", Value: "1024"}, func(c *embed.Config) any { return c.QuotaBackendBytes }, int64(1024)},
		{config.Arg{Key: "heartbeat-interval", Value: "7"}, func(c *embed.Config) any { return c.TickMs }, uint(7)},
		{config.Arg{Key: "backend-batch-interval", Value: "1s"}, func(c *embed.Config) any { return c.BackendBatchInterval.String() }, "1s"},
		{config.Arg{Key: "listen-metrics-urls", Value: "http://127.0.0.1:2381,http://[::1]:2381"},
			func(c *embed.Config) any { return texts(c.ListenMetricsUrls) }, []string{"http://127.0.0.1:2381", "http://[::1]:2381"}},
		{config.Arg{Key: "listen-client-urls", Value: "https://127.0.0.1:2379"},
			func(c *embed.Config) any { return texts(c.ListenClientUrls[1:]) }, []string{"https://127.0.0.1:2379"}},
		{config.Arg{Key: "listen-peer-urls", Value: "https://192.0.2.1:2380"},
			func(c *embed.Config) any { return texts(c.ListenPeerUrls) }, []string{"https://192.0.2.1:2380"}},
		{config.Arg{Key: "cipher-suites", Value: "A,B"}, func(c *embed.Config) any { return c.CipherSuites }, []string{"A", "B"}},
		{config.Arg{Key: "max-concurrent-streams", Value: "9"}, func(c *embed.Config) any { return c.MaxConcurrentStreams }, uint32(9)},
		{config.Arg{Key: "host-whitelist", Value: "a,b"}, func(c *embed.Config) any { return c.HostWhitelist }, map[string]struct{}{"a": {}, "b": {}}},
	} {
		cfg, err := bare(t, c.arg).embed()
		if err != nil {
			t.Errorf("%s: %v", c.arg, err)
			continue
		}
		if diff := cmp.Diff(c.want, c.got(cfg)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.arg, diff)
		}
	}
	for arg, want := range map[config.Arg]string{
		{Key: "no-such-flag", Value: "1"}:           "set --etcd-arg no-such-flag=1: no such flag -no-such-flag",
		{Key: "heartbeat-interval", Value: "often"}: "set --etcd-arg heartbeat-interval=often: parse error",
	} {
		if _, err := bare(t, arg).embed(); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", arg, err, want)
		}
	}
}

func texts(urls []url.URL) []string {
	var out []string
	for _, u := range urls {
		out = append(out, u.String())
	}
	return out
}
