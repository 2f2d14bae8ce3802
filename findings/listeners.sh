#!/bin/sh
# SOCK_DESTROY (sock_diag, linux/sock_diag.h) with INET_DIAG_NOCOOKIE, asked for a connection that is over, ends the
# socket that listens on its port.
#
# Good engineers expect ENOENT: the request names both ends of one connection. The kernel looks the socket up as for a
# packet that comes in, so where no connection has these ends it goes on to a listener, destroys that and reports
# success; accept() fails with EINVAL from then on. With the connection's cookie (from a dump before) it says ENOENT.
# `ss -K` dumps first and is not affected.
#
# Seen on Linux 6.18. In a network namespace of its own; needs root, unshare and
# Python 3, and a kernel with CONFIG_INET_DIAG_DESTROY. Exits with 0 while the kernel behaves so, else with 1.
set -eu
unshare --net sh -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import errno, os, socket, struct, sys

def destroy(local, remote, cookie):
    ports = struct.pack("!HH", local[1], remote[1])
    addresses = b"".join(socket.inet_aton(end[0]).ljust(16, b"\0") for end in (local, remote))
    body = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + ports + addresses
    body += struct.pack("=IQ", 0, cookie)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as kernel:
        kernel.send(struct.pack("=IHHII", 16 + len(body), 21, 1 | 4, 0, 0) + body)
        return -struct.unpack_from("=i", kernel.recv(4096), 16)[0]

def listens(sock):
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 10

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
cookie = struct.unpack("=Q", server.getsockopt(socket.SOL_SOCKET, 57, 8))[0]
ends = server.getsockname(), client.getsockname()
client.close()
server.close()
# The server's end is gone, the client's in TIME_WAIT.
by_cookie = destroy(*ends, cookie)
print("by its cookie:", errno.errorcode.get(by_cookie, "success"), "- listens:", listens(listener))
expected = by_cookie == errno.ENOENT and listens(listener)
without = destroy(*ends, 0xFFFFFFFFFFFFFFFF)
print("without one:  ", errno.errorcode.get(without, "success"), "- listens:", listens(listener))
expected = expected and without == 0 and not listens(listener)
print(os.uname().release, "behaves as described" if expected else "behaves otherwise")
sys.exit(not expected)
PYTHON
