"""Connections whose ciphers are made anew again and again: nothing else is different (core.resting)."""

import pytest

from tcpcryptd.core.resting import Resting
from tcpcryptd.crypto.frame_aead import FrameProtection
from tcpcryptd.crypto.suites import AES128_CTR_SEQIV_HMAC_SHA1, AES_256_GCM_SIV, AES_SIV_CMAC_256, SymmetricSuite
from tests.machine.endpoint import Socket
from tests.machine.link import Conditions
from tests.machine.test_rekeying import Spy
from tests.machine.world import AUTO, ENO, LIMIT, ORIGINAL, POST_QUANTUM, Suite, World, text

SUITES = {"crypt": POST_QUANTUM, "original": ORIGINAL, "eno": ENO, "auto": AUTO, "whole": Suite(whole_packets=True)}
LOSSY = Conditions(loss=0.05, duplication=0.05, reordering=0.1)


def restless(suite: Suite, conditions: Conditions | None = None) -> World:
    """Each segment of one connection lets the others rest."""
    world = World.encrypting(suite, conditions=conditions)
    for host in world.hosts:
        host.daemon._services.ready._limit = 1
    return world


def talk(world: World) -> list[tuple[Socket, Socket]]:
    """Several connections at once, with new keys in between."""
    connections = [world.connect(port=40_000 + number) for number in range(3)]
    sockets = [socket for pair in connections for socket in pair]
    for _ in range(3):
        for socket in sockets:
            socket.write(text(3_000))
        assert world.clock.run_until(lambda: len({len(each.received) for each in sockets}) == 1, LIMIT)
        assert world.clock.run_until(lambda: all(each.all_acknowledged for each in sockets), LIMIT)
        for client, _ in connections:
            world.client.daemon.rekey(*world.ends(client))
    assert all(bytes(socket.received) == text(3_000) * 3 for socket in sockets)
    return connections


def resting(world: World) -> int:
    engines = [host.engine for host in world.hosts if host.engine is not None]
    handlers = [entry.outbound for engine in engines for entry in engine._table.outbound.values()]
    return sum(isinstance(handler.__self__, Resting) for handler in handlers)  # type: ignore[attr-defined]


@pytest.mark.parametrize("conditions", [None, LOSSY], ids=["good path", "lossy path"])
@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_all_goes_as_ever(suite: Suite, conditions: Conditions | None) -> None:
    world = restless(suite, conditions)
    connections = talk(world)
    assert resting(world) >= 4
    for client, server in connections:
        world.close(client, server)
    world.assert_encrypted()


@pytest.mark.interpreted
@pytest.mark.parametrize(
    "suite", [AES_SIV_CMAC_256, AES_256_GCM_SIV, AES128_CTR_SEQIV_HMAC_SHA1], ids=lambda suite: suite.name
)
def test_no_byte_of_crypt_is_sealed_twice(suite: SymmetricSuite) -> None:
    spy = Spy(suite)
    talk(restless(spy.suite, LOSSY))
    assert sum(map(len, spy.sealed.values())) > 12
    spy.assert_no_byte_sealed_twice()


@pytest.mark.interpreted
def test_no_frame_of_eno_has_the_nonce_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed: dict[tuple[bytes, int], bytes] = {}
    seal = FrameProtection.seal

    def noted(self: FrameProtection, offset: int, header: bytes, plaintext: bytes) -> bytes:
        frame = bytes(header) + bytes(plaintext)
        assert sealed.setdefault((self._key, offset), frame) == frame
        return seal(self, offset, header, plaintext)

    monkeypatch.setattr(FrameProtection, "seal", noted)
    talk(restless(ENO, LOSSY))
    assert len(sealed) > 12
