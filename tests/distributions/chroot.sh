#!/bin/sh
# chroot.sh BASE WORK OUTPUT REPOSITORY TARGETS: runs inside.sh as root on a copy of the file system BASE that is thrown
# away, in namespaces of its own but for the network, which packages come from. OUTPUT gets what it says. Needs root.
set -eu
base=$(realpath "$1") work=$2 output=$(realpath "$3") repository=$(realpath "$4") targets=$5
stage=${6:-outside}
self=$(realpath "$0")

if [ "$stage" = outside ]; then
    rm -rf "$work"
    mkdir -p "$work/upper" "$work/overlay" "$work/root"
    # Process 1 of a namespace takes all others with it, however this one ends.
    unshare --mount --propagation private --pid --uts --ipc --fork --kill-child \
        sh "$self" "$base" "$work" "$output" "$repository" "$targets" inside &
    # It ignores the others.
    trap 'kill -KILL $!' INT TERM
    status=0
    wait $! || status=$?
    wait
    rm -rf "$work"
    exit "$status"
fi

root=$work/root
# As it is thrown away, nothing needs to get to the disk.
mount -t overlay overlay -o "volatile,lowerdir=$base,upperdir=$work/upper,workdir=$work/overlay" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for directory in run dev; do
    mount -t tmpfs -o mode=755 none "$root/$directory"
done
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
if [ -e /dev/net/tun ]; then
    mkdir "$root/dev/net"
    touch "$root/dev/net/tun"
    mount --bind /dev/net/tun "$root/dev/net/tun"
fi
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 none "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for name in stdin:0 stdout:1 stderr:2; do
    ln -s "/proc/self/fd/${name#*:}" "$root/dev/${name%:*}"
done
cp --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"
# How this host's apt reaches a mirror, and what it takes from one.
apt-config dump | grep -E '^Acquire::(Check-|https?::)' >"$root/etc/apt/apt.conf.d/90host" || true
# This host's, since what it reaches mirrors through may have a certificate that only it trusts.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
mkdir "$root/output" "$root/repository" "$root/host"
mount --bind "$output" "$root/output"
mount --bind "$repository" "$root/repository"
mount -o remount,bind,ro "$root/repository"
cp "$(dirname "$self")/inside.sh" "$root/inside.sh"
hostname "$(basename "$base")"
cd "$root"
pivot_root . host
umount -l /host
exec env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    ${PIP_INDEX_URL:+PIP_INDEX_URL="$PIP_INDEX_URL"} ${http_proxy:+http_proxy="$http_proxy"} \
    ${https_proxy:+https_proxy="$https_proxy"} ${no_proxy:+no_proxy="$no_proxy"} ${E2E:+E2E="$E2E"} ${UNIT:+UNIT="$UNIT"} \
    sh /inside.sh $targets </dev/null
