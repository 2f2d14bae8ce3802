import pytest

from tcpcryptd.core.protocol import ABSENT, Outcome
from tcpcryptd.crypto.identity import public_key
from tcpcryptd.identity import authenticator as module
from tcpcryptd.identity.authenticator import Authenticator
from tcpcryptd.identity.known_hosts import KnownHosts
from tcpcryptd.identity.proof import HostKey, Part, Role
from tcpcryptd.identity.public_key import fingerprint, key_line
from tcpcryptd.identity.trust import Trust
from tests.machine.identities import AUTHORITY, SEEDS, certificate

HOST = HostKey(bytes(range(32)))
ADDRESS = "192.0.2.1"


def made(peers: str) -> Authenticator:
    return Authenticator(None, Trust(KnownHosts(peers.encode())), lambda: 1e9)


def signed(number: int = 0) -> Part:
    unsigned = Part(b"eno", Role.INITIATOR, b"SYNs", bytes((number,)) + HOST.unsigned)
    return Part(b"eno", Role.INITIATOR, b"SYNs", bytes((number,)) + HOST.prove(unsigned))


def test_a_right_proof() -> None:
    believing = made(f"web1,{ADDRESS} {key_line(HOST.public)}")
    found = believing.identify(ADDRESS, None, signed().message[1:], signed(), may_learn=False)
    assert (found.outcome, found.name) == (Outcome.AUTHENTICATED, "web1")
    assert found.fingerprint == fingerprint(HOST.public)
    assert len(found.token) == 33
    assert believing.recall(ADDRESS, None, found.token) == found
    believing.trust = Trust(KnownHosts())
    again = believing.recall(ADDRESS, 80, found.token)
    assert again is not None
    assert again.outcome is Outcome.UNKNOWN


def test_no_proof_and_a_wrong_one() -> None:
    believing = made("")
    assert believing.identify(ADDRESS, None, None, signed(), may_learn=True) is ABSENT
    for encoded, part in ((b"", signed()), (signed().message[1:], signed(1)), (signed(1).message[1:-1], signed(1))):
        found = believing.identify(ADDRESS, None, encoded, part, may_learn=True)
        assert found.outcome is Outcome.FORGED
        assert not found.token


def test_nothing_proved_is_recalled_as_nothing() -> None:
    believing = made("")
    assert believing.recall(ADDRESS, None, b"") is ABSENT
    assert believing.recall(ADDRESS, None, b"\2" + bytes(32)) is None
    assert believing.recall(ADDRESS, None, b"\1") is None


def test_connections_share_what_is_known_and_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    believing = made("")
    token = b"\1" + HOST.public
    first = believing.recall(ADDRESS, None, token)
    assert believing.recall(ADDRESS, None, token) is first
    for number in range(5):
        believing.recall(f"192.0.2.{number}", None, token)
    assert len(believing._shared) == 3


def test_strangers_certificates_push_out_none_that_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each proof is right; whose authority is not listed, anybody can have made."""
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    believing = made(f"@cert-authority {ADDRESS} {key_line(public_key(AUTHORITY))}")

    def token(address: str, name_length: int) -> bytes:
        host = HostKey(SEEDS["client"], certificate("client", name_length))
        unsigned = Part(b"eno", Role.INITIATOR, b"SYNs", host.unsigned)
        proof = host.prove(unsigned)
        part = Part(b"eno", Role.INITIATOR, b"SYNs", proof)
        return believing.identify(address, None, proof, part, may_learn=False).token

    own = token(ADDRESS, 8)
    strangers = [token("192.0.2.99", length) for length in range(10, 15)]
    found = believing.recall(ADDRESS, None, own)
    assert found is not None
    assert found.outcome is Outcome.AUTHENTICATED
    recalled = [believing.recall("192.0.2.99", None, each) for each in strangers]
    assert [each is not None for each in recalled] == [False, False, True, True, True]
