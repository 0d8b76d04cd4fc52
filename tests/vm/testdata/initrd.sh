#!/bin/busybox sh
# The first process of the machine, from the initial RAM disk: find the disk and go on from there.
export PATH=/bin:/sbin
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
# An emulated processor that has to wait while the kernel measures its time stamp counter gets a clock that runs several times
# too fast, and every time limit is over at once. The clock of the board is right.
second() {
  read -r from </sys/class/rtc/rtc0/since_epoch
  now=$from
  until [ "$now" != "$from" ]; do read -r now </sys/class/rtc/rtc0/since_epoch; done
  read -r up _ </proc/uptime
  up=${up%.*}${up#*.}
}
second; begin=$up
second; second; percent=$(((up - begin) / 2))
if [ $percent -lt 50 ] || [ $percent -gt 200 ]; then
  echo "RESULT clock=$percent"
  /bin/busybox poweroff -f
fi
/bin/busybox modprobe -a virtio_pci virtio_blk ext4
until [ -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /root || /bin/busybox poweroff -f
/bin/busybox mount --move /proc /root/proc
/bin/busybox mount --move /sys /root/sys
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
