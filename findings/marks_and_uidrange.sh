#!/bin/sh
# A mark that changes in mangle OUTPUT makes the kernel route an IPv4 packet again, without the user: `ip rule uidrange`
# does not hold for it. (IPv6 looks again with the user.) So who marks packets there for reasons of his own takes traffic
# away from a VPN that is chosen by user.
#
# Seen with Linux 6.18.44 and iptables 1.8.9 (nf_tables): the SYN of user 65534 leaves by db, which uidrange chose, and with
# `-j MARK --set-mark 7` in mangle OUTPUT, a mark that no rule knows, by da. Needs root, iproute2, iptables, util-linux and
# bash. Exits with 1 when the kernel behaves otherwise.
set -eu
[ "${1:-}" = inside ] || exec unshare --net --mount "$0" inside
mount -t sysfs sysfs /sys
sysctl -qw net.ipv6.conf.all.disable_ipv6=1
for name in da db; do
    ip link add "$name" type veth peer name "p$name"
    ip link set "$name" up
    ip link set "p$name" up
done
ip addr add 10.1.0.1/24 dev da
ip addr add 10.2.0.1/24 dev db
ip neigh add 10.1.0.2 lladdr 02:00:00:00:00:01 dev da
ip neigh add 10.2.0.2 lladdr 02:00:00:00:00:02 dev db
ip route add default via 10.1.0.2 dev da
ip route add default via 10.2.0.2 dev db table 100
ip rule add uidrange 65534-65534 lookup 100

count() { cat "/sys/class/net/$1/statistics/tx_packets"; }
open_connection() {
    timeout 0.5 setpriv --reuid 65534 --clear-groups bash -c 'exec 3<>/dev/tcp/9.9.9.9/80' 2>/dev/null || true
}

open_connection
echo "without a mark: da $(count da), db $(count db)"
[ "$(count da)" = 0 ] && [ "$(count db)" = 1 ] || exit 1
iptables -t mangle -A OUTPUT -p tcp -j MARK --set-mark 7
open_connection
echo "with a mark that changes: da $(count da), db $(count db)"
[ "$(count da)" = 1 ] && [ "$(count db)" = 1 ] || exit 1
uname -r
