#!/bin/sh
# With an MTU of more than 32 KiB, Linux's TCP makes packets of up to 128 KiB although the link's gso_max_size is 65,536:
# it puts two segments in a packet however large they are (net.ipv4.tcp_min_tso_segs). Their IPv4 total length is 0. A
# netfilter queue with NFQA_CFG_F_GSO gets the first 65,531 bytes of them (NFQA_CAP_LEN has the whole length) and has no
# way to ask for the rest.
#
# Good engineers expect packets to fit gso_max_size, and a packet that came incomplete to be lost. It is not: the verdict
# NF_QUEUE with the number of a queue without the flag hands it to that queue, and the kernel cuts it into segments there,
# all of which are in that queue's socket when the system call for the verdict returns.
#
# Seen on Linux 6.18, where loopback's MTU is 65,536. In a network namespace of its own; needs root, unshare, iptables
# and Python 3. Exits with 0 while the kernel behaves so, else with 1.
set -eu
unshare --net sh -c 'ip link set lo up && ip -d link show lo | grep -o "gso_max_size [0-9]*" | head -1 &&
    iptables -t mangle -A OUTPUT -p tcp --dport 7000 -j NFQUEUE --queue-num 1 && exec python3 -' <<'PYTHON'
import os, socket, struct, sys, threading, time

ACCEPT, QUEUE = 1, 3

def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

class Queue:
    def __init__(self, number, gso):
        self.number = number
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((0, 0))
        self.ask(2, attribute(1, struct.pack(">BxH", 1, socket.AF_INET)))
        flags = attribute(4, struct.pack(">I", 4)) + attribute(5, struct.pack(">I", 4)) if gso else b""
        self.ask(2, attribute(2, struct.pack(">IB", 0xFFFF, 2)) + flags)

    def ask(self, kind, body, acknowledged=True):
        header = struct.pack(">BBH", 0, 0, self.number)
        size, flags = 20 + len(body), 5 if acknowledged else 1
        self.socket.send(struct.pack("=IHHII", size, 3 << 8 | kind, flags, 0, 0) + header + body)
        if acknowledged:
            assert struct.unpack_from("=i", self.socket.recv(4096), 16)[0] == 0

    def next(self):
        data, at, found = self.socket.recv(1 << 17, socket.MSG_DONTWAIT), 20, {}
        while at + 4 <= len(data):
            size, kind = struct.unpack_from("=HH", data, at)
            found[kind & 0x3FFF] = data[at + 4 : at + size]
            at += size + 3 & ~3
        whole = struct.unpack(">I", found[13])[0] if 13 in found else len(found[10])
        return found[1][:4], found[10], whole

    def verdict(self, packet, verdict):
        self.ask(1, attribute(2, struct.pack(">I", verdict) + packet), acknowledged=False)

large, segments = Queue(1, gso=True), Queue(2, gso=False)
listener = socket.create_server(("127.0.0.1", 7000))
got = []

def receive():
    connection, _ = listener.accept()
    while data := connection.recv(1 << 20):
        got.append(len(data))

def send():
    with socket.create_connection(("127.0.0.1", 7000)) as client:
        client.sendall(bytes(4_000_000))

threads = [threading.Thread(target=each, daemon=True) for each in (receive, send)]
for each in threads:
    each.start()
expected = None
deadline = time.monotonic() + 20
while any(each.is_alive() for each in threads) and time.monotonic() < deadline:
    try:
        packet, payload, whole = large.next()
    except BlockingIOError:
        threads[0].join(0.01)
        continue
    if whole <= len(payload):
        large.verdict(packet, ACCEPT)
        continue
    large.verdict(packet, 2 << 16 | QUEUE)
    pieces = []
    while True:
        try:
            pieces.append(segments.next())
        except BlockingIOError:
            break
    for piece, _, _ in pieces:
        segments.verdict(piece, ACCEPT)
    if expected is None:
        total = struct.unpack_from(">H", payload, 2)[0]
        sizes = [len(segment) for _, segment, _ in pieces]
        print(f"packet of {whole} bytes, total length {total}, of which came {len(payload)}; as segments: {sizes}")
        header = 40 + (payload[32] >> 4) * 4 - 20
        expected = whole > 65_536 and total == 0 and len(payload) == 65_531
        expected = expected and sum(sizes) - header * len(sizes) == whole - header and max(sizes) < 65_531
print("received:", sum(got))
expected = bool(expected) and sum(got) == 4_000_000
print(os.uname().release, "behaves as described" if expected else "behaves otherwise")
sys.exit(not expected)
PYTHON
