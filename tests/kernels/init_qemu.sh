#!/bin/busybox sh
# Process 1 of the initial file system: the host's root, read-only, below an overlay in memory; then inside.sh there.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in $(cat /modules/order); do
    insmod "/modules/$module"
done
options=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "$options,ro,cache=loose" host /host
mount -t tmpfs -o size=75% memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /root
modules=$(readlink -f /root/lib/modules 2>/dev/null || echo /root/usr/lib/modules)/$(uname -r)
mkdir -p "$modules" /root/results
mount -t 9p -o "$options,ro,cache=loose" modules "$modules"
mount -t 9p -o "$options" results /root/results
mount -t tmpfs -o mode=755 run /root/run
for directory in dev proc sys; do
    mount --move "/$directory" "/root/$directory"
done
exec switch_root /root /bin/sh /results/inside.sh
