#!/bin/busybox sh
# The first process from the disk: what a small distribution sets up, then the test, then power off.
export PATH=/bin:/sbin HOME=/root
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
mount --make-rshared /
stty -F /dev/console -onlcr 2>/dev/null
hostname vm
modprobe virtio_net
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
sh /test/run.sh
echo "RESULT end=$?"
poweroff -f
