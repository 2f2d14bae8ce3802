# Process 1 once the host's root is ours; /results/command has what to run, as an end-to-end test would be run there.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
uname -a >/results/uname
. /results/command >/results/output 2>&1
echo $? >/results/status
dmesg >/results/dmesg
sync
exec busybox poweroff -f
