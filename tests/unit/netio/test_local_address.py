"""The kernel's routing tables, as far as every host has them."""

import socket

import pytest

from tcpcryptd.netio.local_address import LocalAddresses

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
def test_has(address: str, interface: int, *, local: bool) -> None:
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    addresses = LocalAddresses()
    assert addresses.has(packed, interface) is local
    assert addresses.has(socket.inet_aton("127.0.0.1"), 0)
    addresses.close()
