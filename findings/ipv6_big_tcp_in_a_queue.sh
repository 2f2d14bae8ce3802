#!/bin/sh
# Incoming IPv6 packets of more than 64 KiB (BIG TCP) that a netfilter queue without NFQA_CFG_F_GSO gets in PREROUTING are
# lost, although each of their segments is accepted unchanged: the connection lives on retransmissions.
#
# Good engineers expect that a queue whose program accepts everything changes nothing. The kernel has read the jumbo payload
# option when it cuts the packet into segments for the queue, and takes the option out of them, but still looks for the
# next header where the option had it (nhoff in the packet's control block): it finds a TCP port there, and drops them.
# With the flag the packet stays whole, and nothing is lost.
#
# Seen on Linux 6.18. In two network namespaces of its own; needs root, unshare, iproute2, ip6tables and Python 3. Exits with 0
# while the kernel behaves so, else with 1.
set -eu
unshare --net python3 - <<'PYTHON'
import ctypes, os, socket, struct, subprocess, sys, threading

SIZE = 2_000_000

def run(command):
    subprocess.run(command.split(), check=True)

def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

def accept_all(number, gso):
    queue = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    queue.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
    queue.bind((0, 0))

    def send(kind, body):
        queue.send(struct.pack("=IHHIIBBH", 20 + len(body), 3 << 8 | kind, 1, 0, 0, 0, 0, socket.htons(number)) + body)

    flags = attribute(4, struct.pack(">I", 4)) + attribute(5, struct.pack(">I", 4)) if gso else b""
    send(2, attribute(1, struct.pack(">BxH", 1, socket.AF_INET6)))
    send(2, attribute(2, struct.pack(">IB", 0xFFFF, 2)) + flags)

    def serve():
        while True:
            data, at = queue.recv(1 << 17), 20
            while at + 4 <= len(data):
                size, kind = struct.unpack_from("=HH", data, at)
                if kind == 1:
                    send(1, attribute(2, struct.pack(">I", 1) + data[at + 4 : at + 8]))
                    break
                at += size + 3 & ~3

    threading.Thread(target=serve, daemon=True).start()

def sender(orders, answers):
    assert ctypes.CDLL(None).unshare(0x40000000) == 0
    os.write(answers, b".")
    while port := os.read(orders, 2):
        with socket.create_connection(("fd00::1", struct.unpack("=H", port)[0])) as client:
            client.sendall(bytes(SIZE))
            client.shutdown(socket.SHUT_WR)
            client.recv(1)
            # tcpi_total_retrans of struct tcp_info
            os.write(answers, client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[100:])
    os._exit(0)

orders, answers = os.pipe(), os.pipe()
child = os.fork()
if not child:
    os.close(orders[1])
    sender(orders[0], answers[1])
os.read(answers[0], 1)
run(f"ip link add eth0 gso_max_size 180000 type veth peer name eth0 gso_max_size 180000 netns {child}")
for inside, address in (("", "fd00::1"), (f"nsenter --net=/proc/{child}/ns/net ", "fd00::2")):
    run(f"{inside}ip link set eth0 gso_max_size 180000")
    run(f"{inside}ip link set eth0 up")
    run(f"{inside}ip address add {address}/64 dev eth0 nodad")
lost = {}
for number, gso in ((1, True), (2, False)):
    accept_all(number, gso)
    listener = socket.create_server(("fd00::1", 7000 + number), family=socket.AF_INET6)
    run(f"ip6tables -t mangle -A PREROUTING -p tcp --dport {7000 + number} -j NFQUEUE --queue-num {number}")
    os.write(orders[1], struct.pack("=H", 7000 + number))
    connection, _ = listener.accept()
    received = 0
    while data := connection.recv(1 << 20):
        received += len(data)
    connection.close()
    lost[gso] = struct.unpack("=I", os.read(answers[0], 4))[0]
    print(f"queue {'with' if gso else 'without'} NFQA_CFG_F_GSO: {received} bytes, {lost[gso]} segments sent again")
os.close(orders[1])
os.waitpid(child, 0)
expected = lost[True] < 10 and lost[False] >= 10
print(os.uname().release, "behaves as described" if expected else "behaves otherwise")
sys.exit(not expected)
PYTHON
