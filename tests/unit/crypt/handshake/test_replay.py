"""The original daemon's recorded traces, packet by packet through our engine (tests/vectors/crypt-option)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import Negotiated
from tcpcryptd.core.verdict import Action, Direction
from tcpcryptd.crypt import CryptConfig, CryptFactory
from tcpcryptd.crypt.constants import MAC, TIMESTAMP_AREA
from tcpcryptd.crypto.keyring import KeyRing
from tcpcryptd.crypto.rsa_oaep import RsaOaep, RsaPrivateKey
from tcpcryptd.crypto.suites import AES128_CTR_SEQIV_HMAC_SHA1, RSA_2048
from tcpcryptd.wire.segment import Segment, locate

VECTORS = json.loads((Path(__file__).parents[3] / "vectors/crypt-option/vectors.json").read_text())
FIRST: dict[str, Any] = VECTORS["connections"][0]
RESUMED: dict[str, Any] = VECTORS["connections"][1]
_DIRECTIONS = {"pkt_out": Direction.OUT, "pkt_in": Direction.IN}


def engine_with(nonce: str) -> Engine:
    keys = KeyRing(RsaOaep())
    keys.replace(RsaPrivateKey.from_primes(int(FIRST["rsa"]["rsa_p"], 16), int(FIRST["rsa"]["rsa_q"], 16)))
    offer = bytes.fromhex(FIRST["sym_cipher_list"])
    suites = (AES128_CTR_SEQIV_HMAC_SHA1,)
    config = CryptConfig(keys, public_key_algorithms=(RSA_2048,), symmetric_suites=suites, symmetric_offer=offer)
    return Engine(EngineConfig(), [CryptFactory(config)], random=lambda size: bytes.fromhex(FIRST[nonce]))


def segment(packet: bytes) -> Segment:
    return Segment(packet, locate(packet)[0])


def replay(engine: Engine, trace: list[dict[str, str]], compare: Callable[[Segment, Segment], None]) -> int:
    """Feeds a daemon's packets and compares what comes out with what came out of it; returns how many were compared."""
    compared = 0
    skip_injected = False
    for step in trace:
        if step["op"] == "inject":
            # Ours go out by a raw socket that is not diverted, the original's came back to it.
            skip_injected = True
            continue
        if skip_injected:
            skip_injected = False
            continue
        action, packet, _ = engine.handle_packet(bytes.fromhex(step["pkt"]), _DIRECTIONS[step["op"]], 0.0)
        engine.packets_to_inject()
        assert action is not Action.DROP, step
        ours = packet if packet is not None else bytes.fromhex(step["pkt"])
        assert segment(ours).checksum_is_right
        after = segment(bytes.fromhex(step["pkt_after"]))
        if step["op"] == "pkt_in" and after.option(MAC) is not None:
            # The original leaves its MAC to the kernel, behind timestamps or alone.
            area = after.option_area
            after = segment(after.edited(option_area=b"" if area[0] == MAC else area[:TIMESTAMP_AREA]))
        compare(segment(ours), after)
        compared += 1
    return compared


def assert_same(ours: Segment, recorded: Segment) -> None:
    assert (ours.sequence, ours.acknowledgment, ours.flags) == (
        recorded.sequence,
        recorded.acknowledgment,
        recorded.flags,
    )
    assert ours.option_area == recorded.option_area
    assert ours.payload == recorded.payload


@pytest.mark.parametrize(("trace", "nonce"), [("client_daemon_trace", "N_C"), ("server_daemon_trace", "N_S")])
def test_a_fresh_connection_and_its_resumption_come_out_as_recorded(trace: str, nonce: str) -> None:
    engine = engine_with(nonce)
    for recorded, packets in (FIRST, 30), (RESUMED, 29):
        assert replay(engine, recorded[trace], assert_same) == packets
        event = engine.next_event()
        assert isinstance(event, Negotiated)
        assert event.session_id == bytes.fromhex(recorded["sid"])
        assert event.resumed == (recorded is RESUMED)
    # Both were closed at both ends.
    assert engine.counters()["closed"] == 2
    assert "integrity_failures" not in engine.counters()
