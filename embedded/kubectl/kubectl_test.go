package kubectl

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// kubeconfig names a server at which nothing listens.
const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: a, user: {token: t}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
current-context: a
`

// TestRun runs kubectl in a goroutine of its own, which a failure ends as it would end the process.
func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig.yaml")
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", "") // restored after the test: Run sets it
	for _, c := range []struct {
		args    []string
		code    int
		message string
	}{
		{[]string{"version", "--client"}, 0, ""},
		{[]string{"config", "current-context"}, 0, ""},
		{[]string{"get", "--bogus"}, 1, "error: unknown flag: --bogus\nSee 'kubectl get --help' for usage."},
		{
			[]string{"get", "--raw", "/readyz"}, 1,
			"The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?",
		},
	} {
		code, message := run(c.args, path)
		if code != c.code || message != c.message {
			t.Errorf("kubectl %v: status %d, %q; want %d, %q", c.args, code, message, c.code, c.message)
		}
	}
}

func run(args []string, path string) (code int, message string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		code = Run(args, Options{Kubeconfig: path, Fatal: func(m string, c int) {
			code, message = c, m
			runtime.Goexit()
		}})
	}()
	<-done
	return code, message
}
