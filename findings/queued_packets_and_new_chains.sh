#!/bin/sh
# A packet that waits in an NFQUEUE comes to the rule that queued it a second time, after NF_ACCEPT, when somebody has
# added a base chain with a lower priority at the same hook meanwhile: the kernel remembers where the packet was by the
# number of the hook's entry, and goes on with the number behind it, which is the same entry now. (A chain that goes away
# drops what is queued.) So who changes packets in a queue has to know those that it has seen.
#
# Seen with Linux 6.18.44, iptables 1.8.9 (nf_tables) and nft 1.0.6. Needs root,
# iptables, nftables, util-linux, python3-venv, and what NetfilterQueue is compiled with (a C compiler, python3-dev,
# libnetfilter-queue-dev). Exits with 1 when the kernel behaves otherwise.
set -eu
if [ "${1:-}" != inside ]; then
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
    python3 -m venv "$place"
    "$place/bin/pip" install --quiet --disable-pip-version-check NetfilterQueue==1.1.0 || exit 77
    unshare --net "$0" inside "$place/bin/python"
    exit
fi
iptables --version
nft --version
ip link set lo up
iptables -A OUTPUT -p udp -j NFQUEUE --queue-num 1
"$2" - <<'PYTHON'
import socket
import subprocess

from netfilterqueue import NetfilterQueue

CHAIN = "table inet early {\n chain c {\n type filter hook output priority -300; policy accept;\n }\n}"
seen = 0
adds = False


def accept(packet):
    global seen
    seen += 1
    if adds and seen == 1:
        subprocess.run(["nft", CHAIN], check=True)
    packet.accept()


queue = NetfilterQueue()
queue.bind(1, accept)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
waiter = socket.socket(fileno=queue.get_fd())
waiter.settimeout(1)


def times():
    """How often the queue sees one datagram."""
    global seen
    seen = 0
    sender.sendto(b"x", ("127.0.0.1", 9))
    while True:
        try:
            queue.run_socket(waiter)
        except TimeoutError:
            break
    return seen


print("usually it is seen", times(), "time")
adds = True
found = times()
print("when a base chain is added meanwhile,", found, "times")
raise SystemExit(found != 2)
PYTHON
uname -r
