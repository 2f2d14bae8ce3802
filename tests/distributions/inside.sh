#!/bin/sh
# inside.sh TARGET...: what somebody does who has just installed this Debian: gets git and make, clones, and runs make's
# targets. /output/results has a line for each with name, exit code and seconds; what it says is in /output/TARGET.log.
set -eu
export DEBIAN_FRONTEND=noninteractive
checkout=/root/tcpcryptd
SECONDS_AT_MOST=5400

alone() { # COMMAND...: in a network of its own. What needs the other one has been done by then.
    unshare --net --mount sh -ec 'mount -t sysfs sysfs /sys
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        ip link set lo up
        exec "$@"' sh "$@"
}

clone() {
    apt-get update -qq
    apt-get install -y -qq git make
    chmod 700 /root
    git config --global --add safe.directory '*'
    git clone --quiet /repository "$checkout"
}

# As an administrator installs it, where no systemd runs.
package() {
    apt-get install -y -qq man-db ./dist/tcpcryptd_*.deb
    tcpcryptd --version
    man -w 8 tcpcryptd tcnetstat
    man -w 1 tcpcrypt-pcap
    /usr/lib/tcpcryptd/scripts/launch_iptables.sh --print | grep TCPCRYPTD
    alone tcpcryptd doctor --self-test || [ $? = 1 ]
    apt-get purge -y -qq tcpcryptd >/output/purge 2>&1 || { cat /output/purge && false; }
    cat /output/purge
    ! grep -i warning /output/purge
}

# From root's home, until it is interrupted.
daemon() {
    alone timeout --signal INT 60 make -o setup run >/output/daemon 2>&1 || true
    cat /output/daemon
    grep 'running as nobody' /output/daemon
    ! grep Traceback /output/daemon
}

versions() {
    . /etc/os-release
    echo "Debian: $(cat /etc/debian_version)"
    echo "kernel: $(uname -r)"
    for package in python3 systemd iptables gcc groff-base tshark curl; do
        version=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null) || continue
        echo "$package: $version"
    done
}

run() {
    [ "$1" = clone ] || cd "$checkout"
    case $1 in
    clone | package | versions) "$1" ;;
    run) daemon ;;
    setup | compiled | deb | dist) make "$1" ;;
    e2e) alone make -o setup -o compiled e2e ARGS="${E2E:-}" ;;
    unit) alone make -o setup unit ARGS="${UNIT:-}" ;;
    test-packages)
        TCPCRYPTD_SETUP=packages make setup
        alone make -o setup -o compiled -o deb "$1"
        ;;
    *) alone make -o setup -o compiled -o deb "$1" ;;
    esac
}

if [ "$1" = --run ]; then
    run "$2"
    exit
fi
: >/output/results
for target in "$@"; do
    began=$(date +%s) status=0
    timeout --kill-after 30 "$SECONDS_AT_MOST" sh "$0" --run "$target" >"/output/$target.log" 2>&1 || status=$?
    printf '%s\t%s\t%s\n' "$target" "$status" "$(($(date +%s) - began))" >>/output/results
    # The others need these.
    case $status-$target in
    0-*) ;;
    *-clone | *-setup) exit 1 ;;
    esac
done
