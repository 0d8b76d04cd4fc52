package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kedge/tests/image"
)

const volumesManifest = `
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {key: configured, file.txt: "a file\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {password: hidden}
---
apiVersion: v1
kind: Pod
metadata: {name: volumes, labels: {who: me}, annotations: {note: down}}
spec:
  restartPolicy: Never
  volumes:
  - {name: empty, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: machine, hostPath: {path: DIR, type: Directory}}
  - {name: config, configMap: {name: config, defaultMode: 0440}}
  - {name: secret, secret: {secretName: secret, defaultMode: 0400}}
  - name: projected
    projected:
      sources:
      - {configMap: {name: config, items: [{key: key, path: deep/key}]}}
      - {secret: {name: secret}}
      - {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
      - {serviceAccountToken: {path: token, audience: somebody, expirationSeconds: 600}}
  initContainers:
  - name: before
    image: IMAGE
    command: [sh, -c, "echo from the first > /empty/x"]
    volumeMounts: [{name: empty, mountPath: /empty}]
  containers:
  - name: main
    image: IMAGE
    command: [sh, -c, SCRIPT]
    env:
    - {name: KEY, valueFrom: {configMapKeyRef: {name: config, key: key}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: secret, key: password}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: NOTE, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['note']"}}}
    volumeMounts:
    - {name: empty, mountPath: /empty}
    - {name: memory, mountPath: /memory}
    - {name: machine, mountPath: /machine}
    - {name: config, mountPath: /config}
    - {name: config, mountPath: /one/file, subPath: file.txt}
    - {name: secret, mountPath: /secret, readOnly: true}
    - {name: projected, mountPath: /projected}
`

func testVolumes(t *testing.T, n *node) {
	ns := n.namespace(t, "volumes")
	dir := filepath.Join(n.Home(), "hostpath")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "in"), []byte("from the machine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	expected := []struct{ script, prints string }{
		{"cat /empty/x", "from the first"},
		{"stat -f -c %T /memory", "tmpfs"},
		{"cat /machine/in; echo from the pod > /machine/out", "from the machine"},
		{"cat /config/file.txt", "a file"},
		{"cat /one/file", "a file"},
		{"stat -L -c %a /config/key", "440"},
		{"echo $KEY $PASSWORD $NODE $NOTE", "configured hidden host1 down"},
		{"cat /secret/password; echo", "hidden"},
		{"stat -f -c %T /secret", "tmpfs"},
		{"touch /secret/x 2>/dev/null || echo read-only", "read-only"},
		{"cat /projected/deep/key /projected/password; echo", "configuredhidden"},
		{"cat /projected/labels; echo", `who="me"`},
		{"tr . '\\n' < /projected/token | wc -l | tr -d ' '", "2"},
		{"ls /var/run/secrets/kubernetes.io/serviceaccount | tr '\\n' ' '", "ca.crt namespace token "},
	}
	var script, want []string
	for _, e := range expected {
		script, want = append(script, e.script), append(want, e.prints)
	}
	manifest := strings.NewReplacer("IMAGE", image.Name, "DIR", dir, "SCRIPT", quoted([]string{strings.Join(script, "\n")})).Replace(volumesManifest)
	n.apply(t, ns, manifest)
	got := strings.Split(n.output(t, ns, "volumes"), "\n")
	for i, e := range expected {
		if i >= len(got) || strings.TrimSpace(got[i]) != strings.TrimSpace(e.prints) {
			t.Errorf("%s\nin %q, want %q", e.script, got, want)
			break
		}
	}
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil || string(out) != "from the pod\n" {
		t.Errorf("the machine reads %q, %v", out, err)
	}
}
