#!/bin/sh
# What a Linux client of TCP Fast Open (RFC 7413) sends when its SYN's data was not taken.
#
# Expected by most: the SYN ACK is answered with an ACK, and the data follows when the window allows it.
# Seen on Linux 6.18: there is no such ACK. The data itself is the answer, also when the SYN ACK announced a window of 0.
# Who stands in the path and waits for "the ACK of the handshake", or drops data that the window does not allow,
# never sees the handshake end.
#
# Needs root, python3 and iproute2; works in a network namespace of its own. Exits with 1 when the behaviour has changed.
set -eu
uname -sr
exec unshare --net sh -eu -c '
ip link add client type veth peer name server
ip link set client up
ip link set server up
ip address add 192.0.2.1/24 dev client
ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev client nud permanent
# 1: for clients; 4: data in the SYN also without a cookie.
echo 5 > /proc/sys/net/ipv4/tcp_fastopen
exec python3 -' <<'END'
import socket
import struct
import sys

PORT, MSG_FASTOPEN = 7000, 0x20000000
SYN, ACK, PSH = 2, 16, 8
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
wire.bind(("server", 0x0800))
wire.settimeout(5)


def receive():
    """The next TCP segment of the client: Ethernet and IP header, TCP header, payload."""
    while True:
        frame = wire.recv(65536)
        if frame[23] == socket.IPPROTO_TCP and frame[26:30] == socket.inet_aton("192.0.2.1"):
            tcp = frame[34 : 14 + struct.unpack("!H", frame[16:18])[0]]
            return frame[:34], tcp, tcp[(tcp[12] >> 4) * 4 :]


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


client = socket.socket()
client.setblocking(False)
client.sendto(b"early data", MSG_FASTOPEN, ("192.0.2.2", PORT))
header, syn, data = receive()
assert (syn[13], data) == (SYN, b"early data"), (syn[13], data)
number = struct.unpack("!I", syn[4:8])[0]

# The SYN ACK of a server without Fast Open: it acknowledges the SYN alone, and has a window of 0.
answer = bytearray(syn[2:4] + syn[0:2] + struct.pack("!IIBBHHH", 1, number + 1 & 0xFFFFFFFF, 5 << 4, SYN | ACK, 0, 0, 0))
addresses = header[30:34] + header[26:30]
answer[16:18] = struct.pack("!H", checksum(addresses + struct.pack("!HH", 6, 20) + bytes(answer)))
ip = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0) + addresses)
ip[10:12] = struct.pack("!H", checksum(bytes(ip)))
wire.send(header[6:12] + header[:6] + b"\x08\x00" + bytes(ip) + bytes(answer))

_, third, data = receive()
flags, position = third[13], struct.unpack("!I", third[4:8])[0] - number & 0xFFFFFFFF
print(f"third segment: flags {flags:#x}, at SYN + {position}, payload {data!r}")
sys.exit(0 if (flags, position, data) == (ACK | PSH, 1, b"early data") else 1)
END
