#!/bin/sh
# boot.sh PACKAGE SCENARIO OUTPUT: boots systemd on a copy of this host's file system that is thrown away afterwards, in
# namespaces of its own, installs the package there, and runs the scenario (a bash script), which can write to /output.
# The host is not changed: its files lie below an overlay, and the mounts belong to this process. Needs root.
set -eu
package=$(realpath "$1") scenario=$(realpath "$2") output=$(realpath "$3")
stage=${4:-mounts}
self=$(realpath "$0")

if [ "$stage" = mounts ]; then
    # Process 1 of a namespace takes all others with it, however this one ends.
    exec unshare --mount --propagation private --pid --fork --kill-child sh "$self" "$package" "$scenario" "$output" cgroup
fi

if [ "$stage" = cgroup ]; then
    # A control group of its own, so that systemd finds itself at the root of all groups that it sees.
    groups=$output/groups
    mkdir -p "$groups"
    mount -t cgroup2 none "$groups"
    mine=$groups/tcpcryptd-test-$$
    mkdir "$mine"
    status=0
    sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$mine" \
        unshare --pid --net --uts --ipc --cgroup --mount --fork --kill-child \
        sh "$self" "$package" "$scenario" "$output" boot || status=$?
    find "$mine" -depth -type d -exec rmdir {} +
    exit "$status"
fi

umount "$output/groups"
work=$output/work
mkdir -p "$work"
mount -t tmpfs -o size=600m none "$work"
mkdir "$work/upper" "$work/overlay" "$work/root"
root=$work/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/overlay" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for directory in run tmp dev; do
    mount -t tmpfs -o mode=755 none "$root/$directory"
done
chmod 1777 "$root/tmp"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# None of the host's own services.
find "$root/etc/systemd/system" -mindepth 1 -delete
cat >"$root/etc/systemd/system/scenario.service" <<X
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/bash /scenario.sh
StandardOutput=file:/output/log
StandardError=inherit
ExecStopPost=/bin/systemctl exit 0 --force --force
X
cp "$scenario" "$root/scenario.sh"
cp "$package" "$root/tcpcryptd.deb"
mkdir -p "$root/output" "$root/host"
mount --bind "$output" "$root/output"
cd "$root"
pivot_root . host
umount -l /host
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=scenario.service \
    --log-target=console --show-status=no systemd.unified_cgroup_hierarchy=1 </dev/null >/output/console 2>&1
