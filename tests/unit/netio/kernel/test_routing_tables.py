"""The kernel's routing tables, as far as every host has them."""

import os
import socket
import subprocess
import sys

import pytest

from tcpcryptd.netio.kernel.routing_tables import KernelRoutes
from tcpcryptd.wire.segment import ACK, make

LOOPBACK = 1


@pytest.mark.parametrize(
    ("address", "interface", "local"),
    [
        ("127.0.0.1", 0, True),
        ("127.0.0.1", LOOPBACK, True),
        # For documentation (RFC 5737, RFC 3849): nobody's.
        ("192.0.2.1", 0, False),
        ("2001:db8::1", 0, False),
        ("127.0.0.1", 1 << 30, False),
    ],
)
def test_is_local(address: str, interface: int, *, local: bool) -> None:
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    routes = KernelRoutes()
    assert routes.is_local(packed, interface) is local
    assert routes.is_local(socket.inet_aton("127.0.0.1"), 0)
    routes.close()


def test_the_interface_of_a_segment() -> None:
    routes = KernelRoutes()
    key = socket.inet_aton("127.0.0.1") * 2 + bytes((0, 80, 0, 81))
    packet = make(key, sequence=1, acknowledgment=2, flags=ACK, window=0)
    assert [routes.interface(packet, 5), routes.interface(packet, 5)] == [LOOPBACK, LOOPBACK]
    routes.close()


def test_a_change_ends_what_is_known() -> None:
    script = (
        "import socket, subprocess\n"
        "from tcpcryptd.netio.kernel.routing_tables import KernelRoutes\n"
        "address = socket.inet_aton('192.0.2.1')\n"
        "routes = KernelRoutes()\n"
        "found = [routes.is_local(address, 0)]\n"
        "for verb in ('add', 'del'):\n"
        "    subprocess.run(['ip', 'address', verb, '192.0.2.1/32', 'dev', 'lo'], check=True)\n"
        "    found += [routes.is_local(address, 0), routes.is_local(address, 0)]\n"
        "print(found)\n"
    )
    command = ["unshare", "--net", sys.executable, "-c", script]
    if os.geteuid() != 0:
        command[1:1] = ["--user", "--map-root-user"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found == "[False, True, True, False, False]\n"
