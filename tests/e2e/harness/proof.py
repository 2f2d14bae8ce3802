"""What encrypted and plain connections look like from outside."""

import socket

from tests.e2e.harness.capture import KIND_CRYPT, KIND_MAC, Capture
from tests.e2e.harness.network import Network

MARKER = b"this text must never be seen on the wire; "


def assert_encrypted(capture: Capture, marker: bytes = MARKER) -> None:
    """Data went over the wire with both options, and never the marker."""
    assert capture.size() > 0
    assert {KIND_CRYPT, KIND_MAC} <= capture.kinds()
    assert not capture.contains(marker)


def assert_plain(capture: Capture, marker: bytes = MARKER) -> None:
    """The marker went over the wire, and no segment had a MAC."""
    assert capture.contains(marker)
    assert KIND_MAC not in capture.kinds()


def same_session(network: Network, client: socket.socket) -> str:
    """The session ID of the connection, after both hosts have named the same one."""
    at_client = network.client.session_id(client)
    local, remote = client.getsockname()[:2], client.getpeername()[:2]
    at_server = [s.session_id for s in network.server.sessions() if (s.local, s.remote) == (remote, local)]
    assert at_server == [at_client]
    return at_client
