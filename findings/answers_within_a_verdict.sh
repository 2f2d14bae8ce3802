#!/bin/sh
# What the local kernel answers to a packet that was accepted from an NFQUEUE is in its own queue before the call that
# sent the verdict returns: the packet goes on through TCP within that call, not later in an interrupt. So a program with
# a queue for each direction, or for each kind of connection, that reads one of them until it is empty has left the
# answer behind, and handles what came afterwards first: two connections can be accepted in another order than they were
# opened in. (Who holds the socket in a system call at that moment answers later.)
#
# Seen with Linux 6.18.44 and iptables 1.8.9 (nf_tables): 100 of 100. Needs root, iptables, util-linux, python3-venv,
# and what NetfilterQueue is compiled with (a C compiler, python3-dev, libnetfilter-queue-dev). Exits with 1 when an
# answer comes later.
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
ip link set lo up
iptables -A INPUT -p tcp --sport 7000 --tcp-flags SYN,ACK SYN,ACK -j NFQUEUE --queue-num 1
iptables -A OUTPUT -p tcp --dport 7000 --tcp-flags SYN,ACK,FIN,PSH ACK -j NFQUEUE --queue-num 2
"$2" - <<'PYTHON'
import select
import socket
import threading

from netfilterqueue import NetfilterQueue

ROUNDS = 100
at_once = 0


def waits(queue, milliseconds):
    """Whether there is a packet in the queue within this time."""
    poll = select.poll()
    poll.register(queue.get_fd(), select.POLLIN)
    return bool(poll.poll(milliseconds))


def accept_syn_ack(packet):
    global at_once
    packet.accept()
    at_once += waits(acks, 0)


syn_acks, acks = NetfilterQueue(), NetfilterQueue()
syn_acks.bind(1, accept_syn_ack)
acks.bind(2, lambda packet: packet.accept())
listener = socket.create_server(("127.0.0.1", 7000))
for _ in range(ROUNDS):
    client = socket.socket()
    opening = threading.Thread(target=client.connect, args=(("127.0.0.1", 7000),))
    opening.start()
    for queue in (syn_acks, acks):
        if not waits(queue, 5000):
            raise SystemExit("no packet came")
        queue.run(block=False)
    opening.join()
    listener.accept()[0].close()
    client.close()
    # The ACK of the FIN.
    while waits(acks, 20):
        acks.run(block=False)
print("the ACK was in its queue when the verdict on the SYN ACK had been sent:", at_once, "of", ROUNDS)
raise SystemExit(at_once != ROUNDS)
PYTHON
uname -r
