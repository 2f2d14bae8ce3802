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

host() { # a host's network and /run, as a process has them
    unshare --net --mount sh -ec 'mount -t sysfs sysfs /sys
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        mount -t tmpfs none /run
        exec sleep 7200' &
    until_it_says sleep "/proc/$!/comm"
}

on() { # HOST COMMAND...
    target=$1
    shift
    nsenter --target "$target" --net --mount "$@"
}

make_run() { # HOST LOG: only what make runs as root is there
    timeout --signal INT --kill-after 60 5000 make run SUDO="nsenter --target $1 --net --mount" >"$2" 2>&1 &
    until_it_says 'running as nobody' "$2"
}

until_it_says() { # TEXT FILE
    for _ in $(seq 3600); do
        ! grep -q "$1" "$2" || return 0
        sleep 1
    done
    return 1
}

absent() { # as grep
    ! grep "$@"
}

# What the README says first, where nothing but git and make was installed, on two hosts; ended as by Ctrl-C.
two_hosts() {
    host
    left=$!
    host
    right=$!
    make_run "$left" /output/left
    runs=$!
    make_run "$right" /output/right
    runs="$runs $!"
    ip link add wire netns "$left" type veth peer name wire netns "$right"
    on "$left" ip address add 10.0.0.1/24 dev wire
    on "$right" ip address add 10.0.0.2/24 dev wire
    on "$left" ip link set wire up
    on "$right" ip link set wire up
    apt-get install -y -qq --no-install-recommends curl tcpdump
    mkdir -p /tmp/served
    echo 'the password is swordfish' >/tmp/served/letter
    on "$right" python3 -m http.server --directory /tmp/served 8000 >/output/server 2>&1 &
    server=$!
    on "$left" tcpdump -Z root --immediate-mode -U -w /output/wire.pcap -i wire tcp 2>/output/tcpdump &
    sniffer=$!
    until_it_says listening /output/tcpdump
    on "$left" curl --silent --show-error --retry 30 --retry-connrefused --retry-delay 1 http://10.0.0.2:8000/letter |
        grep swordfish
    on "$left" "$checkout/.venv/bin/tcnetstat" --all
    kill "$sniffer" "$server"
    wait "$sniffer" || true
    tcpdump -n -r /output/wire.pcap >/output/segments
    grep 'length [1-9]' /output/segments
    absent -a swordfish /output/wire.pcap
    kill -INT $runs
    wait $runs || true
    cat /output/left /output/right
    absent Traceback /output/left /output/right
    for each in "$left" "$right"; do
        on "$each" iptables-save >/output/rules
        absent TCPCRYPTD /output/rules
        kill "$each"
    done
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
    run) two_hosts ;;
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
