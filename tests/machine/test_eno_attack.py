"""Attackers and accidents: nothing is delivered that was not sent, nothing leaves in clear, errors look like errors."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.options import ConnectionOptions, Support
from tcpcryptd.eno import EnoConfig
from tcpcryptd.eno.constants import ENO as ENO_KIND
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, FIN, PSH, RST, SYN, make, reverse_key
from tcpcryptd.wire.sequence import add
from tests.machine.host import Host
from tests.machine.link import Crossing, drop, has_flags, sent_by
from tests.machine.test_attack import Attacker
from tests.machine.world import EACH_SIDE, ENO, LIMIT, MARKER, PORT, World, make_engine, text

FORGED = b"\0\0\x20" + b"forged data" * 3
"""What can be read as a whole frame; a frame that is not whole yet is waited for."""


def record_deliveries(host: Host) -> list[bytes]:
    """The packets that its kernel gets from now on; empty at first."""
    delivered: list[bytes] = []
    receive = host.stack.receive

    def recording(packet: bytes) -> None:
        delivered.append(packet)
        receive(packet)

    host.stack.receive = recording  # type: ignore[method-assign]
    return delivered


@EACH_SIDE
@pytest.mark.parametrize("payload", [b"", b"guessed"], ids=["ACK", "data"])
@pytest.mark.parametrize("far", [1 << 28, -(1 << 28)], ids=["ahead", "behind"])
@pytest.mark.parametrize("old", [0, 1 << 28], ids=["known acknowledgment", "old acknowledgment"])
def test_guessed_numbers_reach_no_kernel(side: str, payload: bytes, far: int, old: int) -> None:
    """The kernel would take the timestamp for the peer's, and what the peer sends for older."""
    world, client, server = World.opened(ENO)
    host, socket = (world.client, client) if side == "client" else (world.server, server)
    delivered = record_deliveries(host)
    latest = [each.segment for each in world.link.log if each.sender != side][-1]
    before = host.daemon.counters().get("out_of_window", 0)
    guess = make(
        reverse_key(socket.key),
        sequence=add(latest.sequence, far),
        acknowledgment=add(latest.acknowledgment, -old),
        flags=ACK | PSH,
        window=0,
        option_area=b"\x01\x01\x08\x0a" + bytes(8),
        payload=payload,
    )
    host.receive(guess)
    assert delivered == []
    assert host.daemon.counters()["out_of_window"] == before + 1
    world.exchange(client, server)
    world.close(client, server)


@EACH_SIDE
@pytest.mark.parametrize("far", [1, 100, 1 << 28, -(1 << 28)])
def test_a_guessed_rst_while_a_byte_is_not_acknowledged(side: str, far: int) -> None:
    """The kernel expects one byte more than it has told anybody."""
    world, client, server = World.opened(ENO)
    host, sender, receiver = (world.client, server, client) if side == "client" else (world.server, client, server)
    before = len(receiver.received)
    sender.write(b"k")
    assert world.clock.run_until(lambda: len(receiver.received) > before, LIMIT)
    latest = [each.segment for each in world.link.log if each.sender != side][-1]
    number = add(latest.end, far)
    host.receive(make(reverse_key(receiver.key), sequence=number, acknowledgment=0, flags=RST, window=0))
    world.exchange(client, server)
    world.close(client, server)


@EACH_SIDE
def test_a_reset_that_misses_the_kernel_leaves_nothing_in_clear(side: str) -> None:
    """Somebody on the path gets a byte in before our RST, and has the tracker forget the connection."""
    world, client, server = World.opened(ENO)
    host, socket = (world.client, client) if side == "client" else (world.server, server)
    expected, acknowledgment = add(socket._remote_isn, socket._expected), add(socket.isn, socket._highest)

    def forge(flags: int, ahead: int, payload: bytes = b"") -> None:
        number = add(expected, ahead)
        key = reverse_key(socket.key)
        host.receive(make(key, sequence=number, acknowledgment=acknowledgment, flags=flags, window=9, payload=payload))

    forge(RST | ACK, 500)
    host.daemon.reset(*(reversed(world.ends(client)) if side == "server" else world.ends(client)))
    forge(SYN, 1)
    forge(ACK | PSH, 0, b"!")
    host.collect()
    if socket.error is None:
        socket.write(text(500))
    world.clock.run_for(100)
    world.assert_nothing_in_clear()
    assert socket.error == "reset"


@EACH_SIDE
def test_a_forged_fin_is_no_end_of_file(side: str) -> None:
    """FIN without FINp: the connection ends with an error at both ends (RFC 8548 section 3.7)."""
    world, client, server = World.opened(ENO)
    receiver = server if side == "client" else client
    Attacker(world, client).forge(side, ACK | FIN)
    world.clock.run_for(5)
    assert not receiver.peer_finished
    assert (client.error, server.error) == ("reset", "reset")
    world.assert_nothing_in_clear()


@EACH_SIDE
def test_a_fin_that_was_cleared_on_the_way_is_an_end_of_file(side: str) -> None:
    """FINp decides, and nothing is acknowledged that has not come (RFC 8548 section 3.7)."""
    world, client, server = World.opened(ENO)
    sender, receiver = (client, server) if side == "client" else (server, client)

    def cleared(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        return [segment.edited(flags=segment.flags & ~FIN) if crossing.sender == side else segment.packet]

    world.link.filters.append(cleared)
    sender.shut_down()
    world.clock.run_for(5)
    assert receiver.peer_finished
    assert not sender.all_acknowledged
    world.link.filters.clear()
    assert world.clock.run_until(lambda: sender.all_acknowledged, LIMIT)
    receiver.shut_down()
    assert world.clock.run_until(lambda: client.finished and server.finished, LIMIT)
    assert (client.error, server.error) == (None, None)
    world.assert_encrypted()


@pytest.mark.parametrize("stage", range(1, 5))
@EACH_SIDE
def test_plaintext_in_the_handshake_is_not_delivered(side: str, stage: int) -> None:
    """Once the SYNs have the option, what comes in clear is no data of either application's."""
    world = World.encrypting(ENO)
    client = world.open(data=text(1000))
    assert world.clock.run_until(lambda: len(world.link.log) >= stage + 1, LIMIT)
    attacker = Attacker(world, client)
    if any(each.sender == side for each in world.link.log):
        attacker.forge(side, ACK | PSH, payload=FORGED)
    world.clock.run_for(200)
    for each in world.server.stack.accepted:
        assert b"forged" not in each.received
    assert b"forged" not in client.received
    assert client.error == "reset" or client.all_acknowledged


def test_init1_that_lost_its_option_is_not_delivered() -> None:
    world = World.encrypting(ENO)
    client = world.open(data=text(300))

    def stripped(crossing: object) -> list[bytes]:
        segment = crossing.segment  # type: ignore[attr-defined]
        if segment.flags & SYN or segment.option(ENO_KIND) is None:
            return [segment.packet]
        return [segment.edited(option_area=options.replace(segment.option_area, {ENO_KIND: None}))]

    world.link.filters.append(stripped)
    world.clock.run_for(100)
    assert client.error == "reset"
    assert world.server.stack.accepted == []


@pytest.mark.parametrize("aware", ["client", "server", "both", "neither"])
@pytest.mark.parametrize("mandatory", [False, True], ids=["aware", "mandatory"])
def test_application_awareness(aware: str, mandatory: bool) -> None:
    """Bit a, and the mode that needs it of the peer (RFC 8547 section 4.2)."""
    world = World.encrypting(ENO)
    support = Support.MANDATORY if mandatory else Support.AWARE
    hosts = {"client": (world.client, 40_000), "server": (world.server, PORT)}
    for name, (host, port) in hosts.items():
        if aware in (name, "both"):
            host.daemon.set_options(ConnectionOptions(support=support), Endpoint(host.address, port))
    client, server = world.connect()
    world.exchange(client, server)
    if mandatory and aware in hosts:
        world.close(client, server)
        world.assert_plain()
        return
    known = [
        host.daemon.connection(*ends)
        for host, ends in ((world.client, world.ends(client)), (world.server, world.ends(client)[::-1]))
    ]
    expected = [aware in (name, "both") for name in ("server", "client")]
    assert [info.peer_aware for info in known if info is not None] == expected
    world.assert_encrypted()


@pytest.mark.parametrize(
    ("options", "side"),
    [
        (ConnectionOptions(public_key_specs=(b"\x7f",)), "client"),
        (ConnectionOptions(public_key_specs=(b"\x7f",)), "server"),
        (ConnectionOptions(client_ciphers=(b"\x12\x34",)), "client"),
        (ConnectionOptions(server_ciphers=(b"\x12\x34",)), "server"),
    ],
)
def test_options_that_nothing_fulfils(options: ConnectionOptions, side: str) -> None:
    """They end in plain TCP, before encryption is enabled."""
    world = World.encrypting(ENO)
    host, port = (world.client, 40_000) if side == "client" else (world.server, PORT)
    host.daemon.set_options(options, Endpoint(host.address, port))
    world.talk()
    world.assert_plain()


def test_options_are_in_the_identifiers_of_the_protocol() -> None:
    """A list can have those of both; those of the other protocol do not count."""
    world = World.encrypting(ENO)
    options = ConnectionOptions(
        public_key_specs=(b"\x02\x04\x04", b"\x21"), client_ciphers=(b"\0\x10", b"\0\xf1\0\xf1"), passive_role=False
    )
    world.client.daemon.set_options(options, Endpoint(world.client.address, 40_000))
    client, server = world.connect()
    world.exchange(client, server)
    info = world.client.daemon.connection(*world.ends(client))
    assert info is not None
    assert info.suite == "ECDHE-P256/ChaCha20-Poly1305"


def test_nothing_is_in_clear_on_a_connection_that_fails() -> None:
    """Each byte of the stream is tried: the receiver gets a beginning of what was sent, or an error."""
    for position in range(0, 120, 7):
        world = World.encrypting(replace(ENO, eno=EnoConfig()))

        def damaged(crossing: object, position: int = position) -> list[bytes]:
            segment = crossing.segment  # type: ignore[attr-defined]
            payload = segment.payload
            if len(payload) <= position or crossing.sender != "client":  # type: ignore[attr-defined]
                return [segment.packet]
            changed = payload[:position] + bytes((payload[position] ^ 1,)) + payload[position + 1 :]
            return [segment.edited(payload=changed)]

        world.link.filters.append(damaged)
        world.open(data=text(400))
        world.clock.run_for(60)
        for each in world.server.stack.accepted:
            assert not each.received
            assert not each.peer_finished
        assert MARKER not in b"".join(each.packet for each in world.link.log)


def test_an_ack_from_somebody_else_is_no_first_ack() -> None:
    """Off the path nobody knows the number: the handshake goes on."""
    world = World.encrypting(ENO)
    client = world.open(data=text(500))
    assert world.clock.run_until(lambda: len(world.link.log) == 2, LIMIT)
    syn_ack = world.link.log[1].segment
    for ahead in (2, 1000, 1 << 31):
        forged = make(
            client.key,
            sequence=syn_ack.acknowledgment,
            acknowledgment=add(syn_ack.sequence, ahead),
            flags=ACK,
            window=1000,
        )
        world.link.deliver("client", forged)
    assert world.clock.run_until(lambda: client.all_acknowledged, LIMIT)
    world.assert_encrypted()


def test_a_required_connection_is_never_plain() -> None:
    config = EngineConfig(required=(ip_network("10.0.0.0/8"),))
    for filters in ([drop(has_flags(SYN | ACK, SYN))], [drop(sent_by("server"))]):
        world = World(client=make_engine("c", ENO, config), server=make_engine("s", ENO), filters=filters)
        client = world.open(data=text(1600))
        world.clock.run_for(400)
        syns = [each.segment for each in world.link.log if each.segment.is_opening]
        assert all(segment.option(ENO_KIND) is not None for segment in syns)
        assert client.error is not None
        world.assert_nothing_in_clear()
