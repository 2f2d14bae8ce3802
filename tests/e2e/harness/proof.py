"""What encrypted and plain connections look like from outside."""

import socket

import pytest

from tests.e2e.harness.capture import KIND_CRYPT, KIND_MAC, Capture
from tests.e2e.harness.network import Network
from tests.e2e.harness.process import wait_until
from tests.e2e.harness.traffic import dialogue, exchange

MARKER = b"this text must never be seen on the wire; "

BOTH_PROTOCOLS = pytest.mark.parametrize("protocol", ["crypt", "eno"])
"""For tests that use the fixture `protocol`, themselves or by way of `encrypted`."""
FAMILIES = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
SESSION_ID_LENGTHS = {"crypt": 20, "eno": 33}
"""Bytes; that of RFC 8548 begins with the TEP identifier."""
_SYN = 0x02


def assert_encrypted(capture: Capture, protocol: str = "crypt") -> None:
    """Data went over the wire as the protocol has it, and never the marker.

    With `crypt` both options were there; with `eno` every SYN had the ENO option, and no segment a MAC.
    """
    segments = list(capture.segments())
    assert any(segment.payload for segment in segments)
    assert not any(MARKER in segment.payload for segment in segments)
    kinds = set[int]().union(*(segment.kinds() for segment in segments))
    if protocol == "crypt":
        assert {KIND_CRYPT, KIND_MAC} <= kinds
    else:
        syns = [segment for segment in segments if segment.flags & _SYN]
        assert syns
        assert all(KIND_CRYPT in segment.kinds() for segment in syns)
        assert KIND_MAC not in kinds


def assert_plain(capture: Capture, marker: bytes = MARKER) -> None:
    """The marker went over the wire, and no segment had a MAC."""
    assert capture.contains(marker)
    assert KIND_MAC not in capture.kinds()


def same_session(network: Network, client: socket.socket) -> str:
    """The session ID of the connection, after both hosts have named the same one."""
    at_client = network.client.session_id(client)
    local, remote = client.getsockname()[:2], client.getpeername()[:2]
    at_server: list[str] = []

    def listed() -> bool:
        at_server[:] = [s.session_id for s in network.server.sessions() if (s.local, s.remote) == (remote, local)]
        return bool(at_server)

    # The server's host has to hear first that the client's has the keys.
    wait_until(listed, f"{remote} to {local} is a session")
    assert at_server == [at_client]
    return at_client


def assert_session(
    network: Network, *, data: bytes = MARKER * 1000, family: int = socket.AF_INET, port: int = 0
) -> None:
    """A new connection brings the data there and back, and both hosts name the same session."""
    with dialogue(network, family=family, port=port) as client:
        assert exchange(client, data) == data
        same_session(network, client)


def assert_works(
    network: Network,
    protocol: str = "crypt",
    *,
    data: bytes = MARKER * 1000,
    family: int = socket.AF_INET,
    port: int = 0,
) -> Capture:
    """The same, and the wire shows it as the protocol has it; what the client's host saw."""
    capture = network.client.capture()
    assert_session(network, data=data, family=family, port=port)
    assert_encrypted(capture.stop(), protocol)
    return capture


def assert_stays_plain(
    network: Network, *, data: bytes = MARKER * 1000, family: int = socket.AF_INET, port: int = 0
) -> Capture:
    """A new connection brings the data there and back in plain; what the client's host saw of it."""
    capture = network.client.capture()
    with dialogue(network, family=family, port=port) as client:
        assert exchange(client, data) == data
        assert not any(host.sessions() for host in network.hosts() if host.daemons)
    assert_plain(capture.stop())
    return capture
