package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kedge/pkg/config"
	"kedge/pkg/lifecycle"
	"kedge/pkg/status"
)

// machine is the same on every host that runs the tests.
type machine struct{}

func (machine) Hostname() (string, error) { return "Edge-1", nil }

func (machine) Addresses() ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("192.0.2.7")}, nil
}

type findings struct {
	Missing []string `json:"missing"`
}

func (f findings) Fit() bool { return len(f.Missing) == 0 }

func (f findings) WriteText(w io.Writer) error {
	_, err := fmt.Fprintln(w, "missing:", strings.Join(f.Missing, " "))
	return err
}

// programs say what they were asked to do.
func programs() Programs {
	return Programs{
		Server: func(ctx context.Context, cfg *config.Config, _ config.Adopt, log *slog.Logger) error {
			log.Info("server", "node", cfg.NodeName)
			if cfg.NodeName == "failing" {
				return errors.New("datastore: no space left")
			}
			if cfg.NodeName == "stuck" {
				return stick(ctx, log)
			}
			return serveStatus(ctx, cfg, log)
		},
		Agent: func(ctx context.Context, cfg *config.Config, adopt config.Adopt, log *slog.Logger) error {
			full, err := adopt(map[string]string{"cluster-domain": "the.cluster", "cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16", "cluster-dns": "10.43.0.10"})
			if err != nil {
				return fmt.Errorf("take over the cluster's configuration: %w", err)
			}
			log.Info("agent", "node", full.NodeName, "server", full.Server, "domain", full.ClusterDomain)
			return nil
		},
		Tokens: func(l config.Layout, kubeconfig string) (Tokens, error) {
			if l.DataDir == "/absent" {
				return nil, errors.New("read cluster's root: no such file")
			}
			return tokens{}, nil
		},
		Kubectl: func(args []string, o Kubectl) int {
			fmt.Println("kubectl", args, "kubeconfig:", o.Kubeconfig)
			if len(args) > 0 && args[0] == "fail" {
				o.Fatal(strings.Join(args[1:], " "), 3)
			}
			return 0
		},
		Ctr: func(args []string, socket string) (int, error) {
			fmt.Println("ctr", args, socket)
			if len(args) > 0 && args[0] == "fail" {
				return 1, fmt.Errorf("cannot dial %s", args[1])
			}
			return len(args), nil
		},
		Check: func(_ context.Context, cfg *config.Config) (Findings, error) {
			return findings{Missing: cfg.Disable}, nil
		},
		Reset: func(_ context.Context, l config.Layout, kubeconfig string, _ *slog.Logger) error {
			fmt.Println("reset", l.DataDir, kubeconfig)
			return nil
		},
	}
}

// tokens are always the same two.
type tokens struct{}

func (tokens) Create(_ context.Context, t NewToken) (string, error) {
	return fmt.Sprintf("%s/%s/%s", t.Role, t.TTL, t.Description), nil
}

func (tokens) List(context.Context) ([]Token, error) {
	at := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	return []Token{
		{ID: "aaaaaa", Role: "server", Created: at},
		{ID: "bbbbbb", Role: "agent", Created: at.AddDate(-5, 0, 0), Expires: at.AddDate(-4, 0, 0), Description: "old shop"},
	}, nil
}

func (tokens) Delete(_ context.Context, name string) error {
	if name == "cccccc" {
		return errors.New("delete token: the cluster knows no token cccccc")
	}
	fmt.Println("deleted", name)
	return nil
}

// serveStatus is a server that is well unless its node is called "ill". It ends with the context.
func serveStatus(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	report := func(context.Context) *status.Report {
		return &status.Report{Healthy: cfg.NodeName != "ill", Node: status.Node{Name: cfg.NodeName}}
	}
	server := status.Server(cfg.Layout.StatusSocket(), report, log)
	return lifecycle.Run(ctx, server, log, nil, func() { touch("ready", log) })
}

// stick does not stop when it is asked to.
func stick(ctx context.Context, log *slog.Logger) error {
	touch("ready", log)
	<-ctx.Done()
	touch("stopping", log)
	select {}
}

func touch(name string, log *slog.Logger) {
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		log.Error("file cannot be written", "error", err)
	}
}

func kedge(name string) func() {
	return func() {
		s := OSSystem(func() bool { return os.Getenv("TERMINAL") != "" })
		s.Machine = machine{}
		os.Exit(Run(context.Background(), append([]string{name}, os.Args[1:]...), programs(), s))
	}
}

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kedge": kedge("kedge"), "kubectl": kedge("/usr/bin/kubectl"), "ctr": kedge("/usr/bin/ctr")})
}

// TestScripts runs the command line as a user would.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		UpdateScripts:      os.Getenv("UPDATE_SCRIPTS") != "",
		RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"await": await,
		},
	})
}

// exits runs a command and compares its exit status: exits 2 kedge servr.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("%v: exit status %s, want %s", args[1:], got, args[0])
	}
}

// await waits until a file exists.
func await(ts *testscript.TestScript, _ bool, args []string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		<-tick.C
	}
	ts.Fatalf("%s does not appear", args[0])
}
