"""What must be encrypted is not plain, whatever an attacker or a full table does; what is plain is not garbage."""

from ipaddress import ip_network

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.core.verdict import Direction
from tcpcryptd.crypt.option import HELLO, encode
from tcpcryptd.crypto.suites import AES128_CTR_SEQIV_HMAC_SHA1, AES_256_GCM_SIV, SymmetricSuite
from tcpcryptd.wire.options import pad
from tcpcryptd.wire.segment import ACK, RST, SYN, make
from tcpcryptd.wire.sequence import add
from tests.machine.endpoint import State
from tests.machine.link import all_of, drop, sent_by
from tests.machine.test_attack import Attacker
from tests.machine.test_limits import flood_syn
from tests.machine.test_sessions import resumed, talk
from tests.machine.world import LIMIT, MARKER, World, make_engine, text


def requiring(max_opening: int) -> World:
    """The client's connections must be encrypted, and its table of handshakes is small."""
    config = EngineConfig(required=(ip_network("10.0.0.0/8"),), max_opening=max_opening)
    return World(client=make_engine("c", config=config), server=make_engine("s"))


@pytest.mark.parametrize("crossings", range(1, 6))
def test_a_flood_does_not_make_a_required_connection_plain(crossings: int) -> None:
    world = requiring(max_opening=2)
    world.open(data=text(1600))
    assert world.clock.run_until(lambda: len(world.link.log) == crossings, LIMIT)
    for number in range(5):
        world.client.daemon.handle_packet(flood_syn(number, encode(HELLO)), Direction.IN, world.clock.now)
    world.clock.run_for(30)
    world.assert_nothing_in_clear()


def test_a_required_connection_that_nobody_answers_ends() -> None:
    world = requiring(max_opening=100)
    world.link.filters.append(drop(sent_by("server")))
    client = world.open(data=text(1600))
    world.clock.run_for(400)
    world.assert_nothing_in_clear()
    assert client.error is not None


def test_an_ack_of_somebody_else_does_not_deliver_init1() -> None:
    """An attacker who sees the SYN ACK sends the plain ACK before INIT1 comes."""
    world = World.encrypting()
    client = world.open(data=text(1600))
    assert world.clock.run_until(lambda: len(world.link.log) == 2, LIMIT)
    syn_ack = world.link.log[1].segment
    forged = make(
        client.key, sequence=syn_ack.acknowledgment, acknowledgment=add(syn_ack.sequence, 1), flags=ACK, window=1000
    )
    world.link.deliver("client", forged)
    world.clock.run_for(60)
    (server,) = world.server.stack.accepted
    assert bytes(server.received) == text(1600)
    assert world.session_ids() == (None, None)


def test_a_reset_behind_a_hole_does_not_forget_the_keys() -> None:
    world, client, server = World.opened()
    hole = next(crossing for crossing in reversed(world.link.log) if crossing.sender == "server").segment.end
    blocked = drop(all_of(sent_by("server"), lambda crossing: crossing.segment.sequence == hole))
    world.link.filters.append(blocked)
    server.write(text(6000))
    world.clock.run_for(0.05)
    Attacker(world, client).forge("server", RST)
    world.link.filters.remove(blocked)
    world.clock.run_for(200)
    world.exchange(client, server)
    assert (client.error, server.error) == (None, None)
    assert MARKER not in b"".join(crossing.packet for crossing in world.link.log)


def test_a_session_is_resumed_only_with_suites_that_the_application_wants() -> None:
    world = World.encrypting()
    engine = world.client.daemon

    def suite_of(port: int, wanted: SymmetricSuite | None) -> str | None:
        assert engine is not None
        ciphers = (wanted.spec,) if wanted is not None else None
        engine.set_options(ConnectionOptions(client_ciphers=ciphers), Endpoint(world.client.address, port))
        ends = talk(world, port)
        world.close(*ends)
        info = engine.connection(*world.ends(ends[0]))
        return info.suite if info is not None else None

    original = f"MLKEM768-X25519-HPKE/{AES128_CTR_SEQIV_HMAC_SHA1.name}"
    assert suite_of(40_001, AES128_CTR_SEQIV_HMAC_SHA1) == original
    assert suite_of(40_002, None) == original
    assert resumed(world) == (True, True)
    assert suite_of(40_003, AES_256_GCM_SIV) == f"MLKEM768-X25519-HPKE/{AES_256_GCM_SIV.name}"
    assert resumed(world) == (False, False)
    world.assert_encrypted()


def test_a_client_that_gave_up_and_comes_back_from_the_same_port_is_encrypted() -> None:
    world = World.encrypting()
    given_up = world.open(isn=1000)
    world.clock.run_for(0.015)
    world.client.stack.forget(given_up)
    world.clock.run_for(1.0)
    began = world.clock.now
    client = world.open(isn=500_000, data=text(1000))
    assert world.clock.run_until(lambda: client.state is State.OPEN and client.all_acknowledged, LIMIT)
    assert world.clock.now - began < 2
    world.assert_encrypted()


def test_a_forged_syn_in_a_handshake_does_not_make_it_plain() -> None:
    world = World.encrypting()
    client = world.open()
    forged = make(client.key, sequence=77, acknowledgment=0, flags=SYN, window=1000, option_area=pad(encode(HELLO)))
    world.link.deliver("client", forged)
    client.write(text(1000))
    assert world.clock.run_until(lambda: client.state is State.OPEN and client.all_acknowledged, LIMIT)
    world.assert_encrypted()
