# The test inside the machine. Every line "RESULT key=value" is read outside.
result() { echo "RESULT $1=$2"; }
uptime() { cut -d. -f1 /proc/uptime; }
within() { # SECONDS COMMAND...: repeat COMMAND until it succeeds
  end=$(($(uptime) + $1)); shift
  until "$@" >/tmp/within 2>&1; do
    [ "$(uptime)" -lt "$end" ] || { echo "gave up on: $*"; tail -5 /tmp/within; return 1; }
    sleep 1
  done
}
finish() { echo "--- the log of kedge"; tail -n 40 /tmp/kedge.log | cut -c1-300; }
trap finish EXIT

result date "$(date +%Y)"
result controllers "$(cat /sys/fs/cgroup/cgroup.controllers)"
result modules_before "$(cut -d' ' -f1 /proc/modules | grep -cxE 'overlay|veth|nf_tables|br_netfilter')"
begin=$(uptime)
kedge server >/tmp/kedge.log 2>&1 &
server=$!
ready() { grep -q "node is ready" /tmp/kedge.log || ! kill -0 $server; }
within 400 ready || exit 1
kill -0 $server || exit 1
result ready_seconds $(($(uptime) - begin))
result modules "$(cut -d' ' -f1 /proc/modules | grep -xE 'overlay|veth|nf_tables' | sort | tr '\n' ' ')"
result node "$(kedge kubectl get nodes -o 'jsonpath={.items[0].metadata.name} {.items[0].status.conditions[?(@.type=="Ready")].status}')"
kedge status >/tmp/status; result status $?
imported() { kedge ctr -n k8s.io images ls -q | grep -qx kedge.local/test:1; }
account() { kedge kubectl get serviceaccount default; }
within 120 imported || exit 1
within 120 account || exit 1
kedge kubectl apply -f /test/pod.yaml || exit 1
kedge kubectl wait pod/limited --for=condition=Ready --timeout=240s || { kedge kubectl describe pod limited | tail -20; exit 1; }
uid=$(kedge kubectl get pod limited -o 'jsonpath={.metadata.uid}')
ip=$(kedge kubectl get pod limited -o 'jsonpath={.status.podIP}')
pod=$(find /sys/fs/cgroup -type d -name "pod$uid" | head -1)
result pod_cgroup "${pod%/pod*}"
result pod_memory "$(cat "$pod/memory.max")"
result pod_cpu "$(cat "$pod/cpu.max")"
for c in "$pod"/*/; do
  grep -q probe "/proc/$(head -1 "$c/cgroup.procs")/cmdline" || continue
  result memory "$(cat "$c/memory.max")"
  result cpu "$(cat "$c/cpu.max")"
done
result answer "$(wget -q -O - "http://$ip:8080/hostname")"
service=$(kedge kubectl get service limited -o 'jsonpath={.spec.clusterIP}')
served() { wget -q -O - "http://$service/hostname"; }
within 30 served
result proxy "$(kedge status | sed -n 's/^proxy *//p' | cut -d' ' -f1)"
result modules_ipvs "$(cut -d' ' -f1 /proc/modules | grep -xE 'ip_vs|ip_vs_rr' | sort | tr '\n' ' ')"
result virtual "$(grep -c ' rr ' /proc/net/ip_vs)"
result service_from_node "$(served)"
result service_from_pod "$(kedge kubectl exec limited -- probe dial http "$service" hostname)"
result node_port "$(wget -q -O - http://10.0.2.15:30080/hostname)"
result api_from_pod "$(kedge kubectl exec limited -- probe api /version | grep -c gitVersion)"
kedge kubectl apply -f /test/hungry.yaml || exit 1
hungry() { [ "$(kedge kubectl get pod hungry -o 'jsonpath={.status.containerStatuses[0].state.terminated.reason}')" = OOMKilled ]; }
within 120 hungry && result hungry OOMKilled
before=$(uptime)
kill -TERM $server
wait $server
result stop $?
result stop_seconds $(($(uptime) - before))
result survives "$(wget -q -O - "http://$ip:8080/hostname")"
# The other backend takes over with the next start, and IPVS again with the one after it; what the former one had in the kernel is gone.
again() { # MODE
  kedge server --proxy-mode "$1" >>/tmp/kedge.log 2>&1 &
  server=$!
  mode() { kedge status | grep -q "^proxy *$1" && served >/tmp/answer; }
  within 240 mode "$1" || return 1
  result "mode_$1" "$(cat /tmp/answer)"
  virtuals() { [ "$(grep -c ' rr ' /proc/net/ip_vs)" "$@" ]; }
  if [ "$1" = ipvs ]; then within 60 virtuals -gt 0; else within 60 virtuals -eq 0; fi && result "virtual_$1" right
  kill -TERM $server
  wait $server
}
again nftables || exit 1
again ipvs || exit 1
result panics "$(grep -c '^panic' /tmp/kedge.log)"
