#!/bin/sh
# A flowtable (nft `flow add`) takes only TCP connections that tracking has as ESTABLISHED, and another program can change that
# state: shown as CLOSE_WAIT, which data and acknowledgments do not change, an open connection stays out of it for as long as that
# program likes. One would guess that only helpers and sequence adjustment keep a connection out; neither can be given to a
# connection that exists (ctnetlink answers EOPNOTSUPP, or ignores it).
#
# Seen with Debian's kernel 7.2.13, nft 1.0.6, conntrack 1.4.7. Output:
#   shown as CLOSE_WAIT: not offloaded
#   ESTABLISHED again: offloaded
# Needs root, a kernel with flowtables, nft, conntrack, ip, python3. Exits 77 where the kernel has no flowtables.
set -eu
uname -r
nft --version
for name in a r b; do ip netns add "flow-$$-$name"; done
trap 'for name in a r b; do ip netns pids "flow-$$-$name" | xargs -r kill; ip netns delete "flow-$$-$name"; done' EXIT
in_ns() { name=$1; shift; ip netns exec "flow-$$-$name" "$@"; }
ip link add eth0 netns "flow-$$-a" type veth peer name eth0 netns "flow-$$-r"
ip link add eth0 netns "flow-$$-b" type veth peer name eth1 netns "flow-$$-r"
for each in "a eth0 10.1.0.1" "r eth0 10.1.0.2" "r eth1 10.2.0.2" "b eth0 10.2.0.1"; do
    set -- $each
    in_ns "$1" ip link set "$2" up
    in_ns "$1" ip address add "$3/24" dev "$2"
done
in_ns a ip route add default via 10.1.0.2
in_ns b ip route add default via 10.2.0.2
in_ns r sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
in_ns r nft -f - <<'X' || exit 77
table inet shortcut {
    flowtable quick { hook ingress priority 0; devices = { eth0, eth1 }; }
    chain early { type filter hook prerouting priority filter; ct state established; }
}
X
in_ns b python3 -c '
import socket
connection = socket.create_server(("", 5000)).accept()[0]
while data := connection.recv(1000): connection.sendall(data)' &
talk=$(mktemp -u)
mkfifo "$talk"
in_ns a python3 -c '
import socket, sys, time
for _ in range(100):
    try:
        connection = socket.create_connection(("10.2.0.1", 5000), 5)
        break
    except OSError:
        time.sleep(0.1)
for line in open(sys.argv[1]):
    for _ in range(4):
        connection.sendall(b"x")
        connection.recv(1)
    open(line.strip(), "w").close()' "$talk" &
exec 3>"$talk"
rm "$talk"
exchange() {
    echo "$talk.done" >&3
    while [ ! -e "$talk.done" ]; do sleep 0.1; done
    rm "$talk.done"
}
show_as() { in_ns r conntrack -U -p tcp -s 10.1.0.1 -d 10.2.0.1 --dport 5000 --state "$1" >/dev/null 2>&1; }
expect() {
    exchange
    found="not offloaded"
    in_ns r conntrack -L -p tcp 2>/dev/null | grep -q '\[OFFLOAD\]' && found=offloaded
    echo "$1: $found"
    [ "$found" = "$2" ]
}
exchange
show_as CLOSE_WAIT
in_ns r nft add chain inet shortcut forward '{ type filter hook forward priority filter; }'
in_ns r nft add rule inet shortcut forward meta l4proto tcp flow add @quick
expect "shown as CLOSE_WAIT" "not offloaded"
show_as ESTABLISHED
expect "ESTABLISHED again" offloaded
