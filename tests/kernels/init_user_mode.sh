#!/bin/sh
# Process 1 of user-mode Linux: the host's root, read-only, below an overlay in memory; then inside.sh there. The
# kernel gives it RESULTS, as any word with = that is none of its own.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t tmpfs -o size=75% memory /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
cd /mnt/root
mkdir -p results host
mount -t hostfs -o "$RESULTS" results results
mount -t proc proc proc
mount -t sysfs sys sys
mount -t devtmpfs dev dev
mount -t tmpfs -o mode=755 run run
pivot_root . host
exec /bin/sh /results/inside.sh
