"""What a connection is told of its peer."""

from ipaddress import ip_address
from types import SimpleNamespace

import pytest

from tcpcryptd.identity.claim import Claim
from tcpcryptd.identity.identification import recall
from tcpcryptd.identity.public_key import key_line
from tests.machine.identities import KEYS, SERVER, authenticator


@pytest.mark.parametrize(("key", "is_taken"), [("server", True), ("mallory", False)])
def test_a_session_that_is_not_taken_says_nothing_of_the_peer(key: str, is_taken: bool) -> None:
    """The list may have another key for the peer now, which has perhaps changed its own."""
    believed = authenticator("client", f"{SERVER} {key_line(KEYS[key])}\n")
    connection = SimpleNamespace(
        peer_address=ip_address(SERVER).packed, peer_port=80, must_authenticate=False, identity=None
    )
    found = recall(connection, believed, Claim(KEYS["server"]).token)
    assert (found is not None) is is_taken
    assert connection.identity is None
