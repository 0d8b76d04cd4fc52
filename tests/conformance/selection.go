package main

import "strings"

// slow is a regular expression for the specs of the parallel part that CI leaves out, because each takes 40 seconds or more,
// most of them waiting. Everything else runs there, which is nine tenths of the specs in a third of the time.
func slow() string {
	return strings.Join([]string{
		`\[Slow\]`,
		`API chunking should support continue listing`,
		`CustomResourceDefinition Watch`,
		`ResourceQuota should (apply changes to a resourcequota status|create a ResourceQuota and capture the life of a secret)`,
		`CronJob should (schedule multiple|replace) jobs`,
		`Job should allow to use a pod failure policy to ignore`,
		`StatefulSetBasic\] should perform`,
		`InitContainer .*fail on a RestartAlways pod`,
		`InPlace Resize Container guaranteed pods with multiple containers`,
		`Pod Generation issue 500 podspec updates`,
		`Probing container should (\*not\*|have monotonically|be restarted with a (GRPC|exec))`,
		`readiness probe that fails should never be ready`,
		`(ConfigMap|configMap|secret) (optional )?updates should be reflected`,
		`Downward API volume should update annotations`,
	}, "|")
}

// quickSerial is a regular expression for the specs of the serial part that CI runs: those that take less than 20 seconds.
func quickSerial() string {
	return strings.Join([]string{
		`Daemon set \[Serial\]`,
		`ControllerRevision \[Serial\]`,
		`Namespaces \[Serial\]`,
		`SchedulerPredicates \[Serial\] validates (that NodeSelector|resource limits)`,
	}, "|")
}
