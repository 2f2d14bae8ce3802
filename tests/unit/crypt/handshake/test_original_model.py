"""The model of the original daemon (tests/machine/original.py) does what the original did in its recorded traces."""

from typing import Any

import pytest

from tcpcryptd.core.verdict import Action, joined
from tcpcryptd.crypto.rsa_oaep import RsaPrivateKey
from tcpcryptd.wire.segment import Segment
from tests.machine.original import Original
from tests.unit.crypt.handshake.test_replay import _DIRECTIONS, FIRST, RESUMED, segment


def header(found: Segment) -> tuple[int, int, int, int, bytes, bytes]:
    return (
        found.sequence,
        found.acknowledgment,
        found.flags,
        found.window,
        found.option_area,
        b"" if found.payload[:2] == b"\0\2" else found.payload,
    )


@pytest.mark.parametrize(("trace", "nonce"), [("client_daemon_trace", "N_C"), ("server_daemon_trace", "N_S")])
def test_a_recorded_connection_and_its_resumption(trace: str, nonce: str) -> None:
    rsa = FIRST["rsa"]
    model = Original(RsaPrivateKey.from_primes(int(rsa["rsa_p"], 16), int(rsa["rsa_q"], 16)))
    model.random = lambda n: bytes.fromhex(FIRST[nonce])
    for recorded in (FIRST, RESUMED):
        steps: list[dict[str, Any]] = recorded[trace]
        expected_back = False
        for step in steps:
            if step["op"] == "inject":
                # The model has let it pass its queue already.
                expected_back = True
                continue
            after = segment(bytes.fromhex(step["pkt_after"]))
            if expected_back:
                ((_, packet, _),) = model.packets_to_inject()
                expected_back = False
            else:
                packet_in = bytes.fromhex(step["pkt"])
                action, changed, _ = model.handle_packet(packet_in, _DIRECTIONS[step["op"]], 0.0)
                assert action is not Action.DROP, step
                packet = packet_in if changed is None else joined(changed)
            assert segment(packet).checksum_is_right
            assert header(segment(packet)) == header(after), step
        event = model.next_event()
        assert event is not None
        assert event.session_id == bytes.fromhex(recorded["sid"])  # type: ignore[union-attr]
    assert not model.aborted
