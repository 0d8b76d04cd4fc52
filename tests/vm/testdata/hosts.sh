# The tests of tests/host inside the machine.
cd /tmp
host.test -test.v >/tmp/out 2>&1
status=$?
cat /tmp/out
echo "RESULT passed=$(grep -c '^--- PASS' /tmp/out)"
exit $status
