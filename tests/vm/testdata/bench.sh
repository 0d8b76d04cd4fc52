# Service proxies measured inside the machine; the rows of their table are results.
cd /tmp
modprobe -a ip_vs ip_vs_rr dummy
bench-proxy -kube-proxy /bin/kube-proxy -subjects kedge-ipvs,kube-proxy-ipvs $(cat /test/flags) >/tmp/table
status=$?
n=100
while read -r row; do
  echo "RESULT row$n=$row"
  n=$((n + 1))
done </tmp/table
exit $status
