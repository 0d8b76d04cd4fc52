# The tests of the service proxy inside the machine: those of the IPVS backend, then what both backends have in common.
cd /tmp
status=0
run() { # NAME ENVIRONMENT COMMAND...
  name=$1; shift
  begin=$(cut -d. -f1 /proc/uptime)
  env "$@" -test.v >/tmp/out 2>&1 || { status=1; cat /tmp/out; grep -B8 -e '--- FAIL' /tmp/out; } # the console is shown from its end
  echo "RESULT ${name}=$(grep -c '^--- PASS' /tmp/out) passed, $(grep -c '^--- FAIL' /tmp/out) failed, $(grep -c '^--- SKIP' /tmp/out) skipped"
  echo "RESULT ${name}_seconds=$(($(cut -d. -f1 /proc/uptime) - begin))"
}
echo "RESULT modules_before=$(grep -cE '^ip_vs' /proc/modules)"
run vs vs.test
run backend ipvs.test
modprobe -a sctp veth # tests that begin at once would meet veth half loaded
# TestForeign runs alone: it reads /proc/net/ip_vs, from which the kernel leaves virtual servers out when several network
# namespaces have some.
run ipvs KEDGE_PROXY=ipvs KEDGE_SOAK=0 netns.test -test.parallel=3 -test.skip='^TestForeign$'
run ipvs_alone KEDGE_PROXY=ipvs KEDGE_SOAK=0 netns.test -test.parallel=1 -test.run='^TestForeign$'
run nftables KEDGE_PROXY=nftables KEDGE_SOAK=0 netns.test -test.parallel=3 -test.run='^(TestClusterIP|TestNodePort|TestExternalLocal|TestSCTP)$'
if [ -f /test/soak ]; then
  run soak KEDGE_PROXY=ipvs KEDGE_SOAK="$(cat /test/soak)" netns.test -test.run='^TestSoak$'
  echo "RESULT soaked=$(sed -n 's/.*: \([0-9]* changes, .*\)/\1/p' /tmp/out)"
fi
echo "RESULT modules=$(cut -d' ' -f1 /proc/modules | grep -xE 'ip_vs|ip_vs_rr' | sort | tr '\n' ' ')"
exit $status
