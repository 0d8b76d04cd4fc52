# A node for the conformance suite, which runs outside. Port 1 of the virtual serial device talks to the test: the kubeconfig
# goes out when the node is ready and has the images, a line comes in when it may stop. Port 2 takes the log of kedge.
modprobe virtio_console
port() { # NAME
  until file=$(grep -lx "$1" /sys/class/virtio-ports/*/name 2>/dev/null); do sleep 0.1; done
  file=${file%/name}
  echo "/dev/${file##*/}"
}
uptime() { cut -d. -f1 /proc/uptime; }
exec 3<>"$(port control)" 4>"$(port log)"
log=/var/log/kedge.log
touch $log
tail -f -n +1 <$log >&4 &
tail=$!
begin=$(uptime)
# The garbage collector of the emulated machine has memory enough to run seldom.
GOGC=300 kedge server --proxy-mode ipvs >$log 2>&1 3>&- 4>&- &
server=$!
until grep -q 'msg="node is ready"' $log && grep -q 'msg="imported images"' $log; do
  kill -0 $server || { tail -n 40 $log | cut -c1-300; exit 1; }
  sleep 1
done
echo "RESULT ready_seconds=$(($(uptime) - begin))"
cat /etc/kedge/kubeconfig.yaml >&3
echo "..." >&3 # the end of a YAML document
read -r answer <&3
echo "RESULT answer=$answer"
echo "RESULT proxy=$(kedge status | sed -n 's/^proxy *//p' | cut -d' ' -f1)"
echo "RESULT memory=$(sed -n 's/^VmHWM:[^0-9]*//p' /proc/$server/status)"
echo "RESULT cpu=$(awk '{print int(($14 + $15) / 100)}' /proc/$server/stat)"
echo "RESULT disk=$(df -m / | awk 'END {print $3}')"
kill -TERM $server
wait $server
echo "RESULT stop=$?"
echo "RESULT panics=$(grep -c '^panic' $log)"
left=600
until [ "$(awk '/^pos/ {print $2}' /proc/$tail/fdinfo/0)" = "$(stat -c %s $log)" ]; do # until all of it is outside
  left=$((left - 1))
  [ $left -gt 0 ] || { echo "the log was not taken within a minute"; exit 1; }
  sleep 0.1
done
