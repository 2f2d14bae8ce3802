#!/bin/sh
# A policy of IPsec for `proto tcp` does not hold for a TCP packet that is sent by a raw socket with its own IP header: the
# kernel looks for protocol 255, whatever the header says. Two things make it look for TCP: to name the protocol (a control
# message IP_PROTOCOL, Linux 6.4), or a rule in mangle OUTPUT that changes the packet's mark, after which the route and the
# policy are looked up again, now by the packet's own protocol. The latter needs no help of the sender's.
#
# Seen with Linux 6.18.44 and iptables 1.8.9 (nf_tables): with a policy that blocks, the packet leaves all the same, and is
# refused (EPERM) in both other cases. Needs root, iproute2, iptables, util-linux and python3. Exits with 1 when the kernel
# behaves otherwise.
set -eu
[ "${1:-}" = inside ] || exec unshare --net "$0" inside
ip link set lo up
ip link add da type veth peer name pda
ip link set da up
ip link set pda up
ip addr add 10.1.0.1/24 dev da
ip neigh add 10.1.0.2 lladdr 02:00:00:00:00:01 dev da
ip xfrm policy add src 10.1.0.1 dst 10.1.0.2 proto tcp dir out action block

attempt() {
    python3 - "$1" <<'EOF'
import socket, struct, sys
IP_PROTOCOL = 52
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 7)
ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, bytes((10, 1, 0, 1)), bytes((10, 1, 0, 2)))
tcp = struct.pack(">HHIIBBHHH", 4000, 9, 1, 0, 0x50, 2, 100, 0, 0)
control = [(socket.IPPROTO_IP, IP_PROTOCOL, struct.pack("=i", 6))] if sys.argv[1] == "names" else []
try:
    raw.sendmsg([ip + tcp], control, 0, ("10.1.0.2", 0))
    print("sent")
except PermissionError:
    print("refused")
EOF
}

uname -r
iptables --version
plain=$(attempt -)
named=$(attempt names)
iptables -t mangle -A OUTPUT -p tcp -m mark --mark 7 -j MARK --set-mark 0
marked=$(attempt -)
echo "by itself: $plain; naming the protocol: $named; with a mark that changes: $marked"
[ "$plain $named $marked" = "sent refused refused" ]
