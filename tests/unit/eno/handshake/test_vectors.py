"""Negotiation and Init messages against our own known answers, which were made without this code."""

import json
from typing import Any

import pytest

from tcpcryptd.eno.config import SCHEMES
from tcpcryptd.eno.handshake import option
from tcpcryptd.eno.handshake.init_messages import Init1, Init2
from tcpcryptd.eno.handshake.negotiation import Negotiated, negotiate
from tcpcryptd.eno.handshake.offer import Offer, Resumption
from tcpcryptd.eno.handshake.option import SynOption
from tcpcryptd.eno.role import EnoRole
from tests.vectors.tcpcrypt import verify

CHAINS: list[dict[str, Any]] = json.loads(verify.PATH.read_text())["chains"]
CONNECTIONS = [(chain, connection) for chain in CHAINS for connection in chain["connections"]]

each_connection = pytest.mark.parametrize(
    ("chain", "connection"), CONNECTIONS, ids=[f"{chain['name']} {entry['i']}" for chain, entry in CONNECTIONS]
)


def code_of(chain: dict[str, Any]) -> int:
    return int(chain["tep"] << 8 | chain["agreement"] if "agreement" in chain else chain["tep"])


def syn(connection: dict[str, Any], role: EnoRole) -> SynOption:
    found = option.read([(69, bytes.fromhex(connection[f"option_{role.value.lower()}"])[2:])])
    assert found is not None
    return found


def session(chain: dict[str, Any], connection: dict[str, Any], role: EnoRole) -> Resumption | None:
    """What the host with this role in the connection has cached; None before its first connection."""
    if not connection["i"]:
        return None
    other = EnoRole.B if role is EnoRole.A else EnoRole.A
    original = other if connection["swapped"] else role
    nonce = connection[f"nonce_{original.value.lower()}"]
    return Resumption(
        code_of(chain), original, bytes.fromhex(chain["resume"][connection["i"]]), nonce=bytes.fromhex(nonce)
    )


@each_connection
def test_negotiation(chain: dict[str, Any], connection: dict[str, Any]) -> None:
    for role, peer in ((EnoRole.A, EnoRole.B), (EnoRole.B, EnoRole.A)):
        local = Offer(syn(connection, role), session(chain, connection, role))
        result = negotiate(local, syn(connection, peer))
        assert isinstance(result, Negotiated)
        assert (result.code, result.tep_byte, result.role) == (code_of(chain), connection["tep_byte"], role)
        assert result.transcript.hex() == connection["eno_transcript"]
        assert (result.resumed.session_nonce.hex() if result.resumed else "") == connection["sn"]
        assert (result.resumed is not None) == bool(connection["i"])


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain["name"])
def test_init_messages(chain: dict[str, Any]) -> None:
    first = {name: bytes.fromhex(value) for name, value in chain["connections"][0].items() if isinstance(value, str)}
    scheme = next(scheme for scheme in SCHEMES if scheme.code == code_of(chain))
    one = Init1.read(first["init1"], scheme.public_length, extensible=scheme.is_extensible)
    two = Init2.read(first["init2"], scheme.answer_length, extensible=scheme.is_extensible)
    assert one is not None
    assert two is not None
    (init1, _), (init2, _) = one, two
    assert (init1.nonce, init1.public) == (first["n_a"], first["pub_a"])
    assert (init2.nonce, init2.public) == (first["n_b"], first["pub_b"])
    assert init2.cipher == chain["aead"]
    assert init2.answers(init1)
    assert (init1.encode(), init2.encode()) == (first["init1"], first["init2"])
