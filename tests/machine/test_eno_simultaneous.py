"""Both hosts open the connection at once, and one has asked for the passive role (RFC 8547 4.2, 4.3 and 4.6)."""

import pytest

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.eno.constants import ENO as ENO_KIND
from tcpcryptd.eno.handshake.negotiation import Reason
from tcpcryptd.wire.segment import ACK, SYN
from tests.machine.endpoint import Socket
from tests.machine.link import (
    NO_SYN,
    SYN_ACK,
    Conditions,
    Predicate,
    all_of,
    any_packet,
    drop_nth,
    has_flags,
    has_option,
    sent_by,
    strip,
)
from tests.machine.world import ENO, LIMIT, World, make_engine, text

PORTS = {"client": 5000, "server": 5001}


def choose_roles(world: World, passive: tuple[str, ...], ports: dict[str, int]) -> None:
    for host in world.hosts:
        if host.engine is not None and host.name in passive:
            local = Endpoint(host.address, ports[host.name])
            host.engine.set_options(ConnectionOptions(passive_role=True), local)


def crossing(
    world: World, passive: tuple[str, ...] = ("server",), ports: dict[str, int] = PORTS
) -> tuple[Socket, Socket]:
    """Both sockets; `passive` are the hosts whose application sets b = 1."""
    choose_roles(world, passive, ports)
    client = world.client.stack.open(world.server.address, ports["server"], local_port=ports["client"])
    server = world.server.stack.open(world.client.address, ports["client"], local_port=ports["server"])
    return client, server


def roles(world: World) -> list[str | None]:
    return [event.role for host in world.hosts for event in host.negotiated]


def works(world: World, client: Socket, server: Socket) -> None:
    world.exchange(client, server)
    world.close(client, server)
    world.assert_encrypted()


@pytest.mark.parametrize("passive", ["client", "server"])
@pytest.mark.parametrize("version", [4, 6])
def test_one_plays_b(passive: str, version: int) -> None:
    world = World.encrypting(ENO, version=version)
    client, server = crossing(world, (passive,))
    works(world, client, server)
    assert roles(world) == (["A", "B"] if passive == "server" else ["B", "A"])
    for name in PORTS:
        mine = [each.segment for each in world.link.log if each.sender == name]
        values = [segment.option(ENO_KIND) for segment in mine if segment.flags & SYN]
        # The SYN ACK has the option of the SYN.
        assert len(values) == 2
        assert values[0] == values[1] is not None
        # In every segment until one without SYN has come.
        assert mine[2].option(ENO_KIND) == b""


@pytest.mark.parametrize("passive", [(), ("client", "server")])
def test_the_same_role_is_plain(passive: tuple[str, ...]) -> None:
    world = World.encrypting(ENO)
    client, server = crossing(world, passive)
    world.exchange(client, server)
    world.close(client, server)
    world.assert_plain()
    assert world.reasons(world.client) == world.reasons(world.server) == [Reason.SAME_ROLE]


def test_the_passive_role_towards_a_passive_opener_is_plain() -> None:
    world = World.encrypting(ENO)
    world.client.daemon.set_options(ConnectionOptions(passive_role=True), Endpoint(world.client.address, 40_000))
    world.talk()
    world.assert_plain()
    assert world.reasons(world.server) == [Reason.SAME_ROLE]


@pytest.mark.parametrize("passive", ["client", "server"])
@pytest.mark.parametrize("lost", range(1, 11))
def test_a_packet_is_lost(lost: int, passive: str) -> None:
    world = World.encrypting(ENO, filters=[drop_nth(any_packet, lost)])
    works(world, *crossing(world, (passive,)))


@pytest.mark.parametrize("lost", [(3, 4), (3, 4, 5, 6), (1, 3), (2, 4), (5, 6, 7)])
def test_several_packets_are_lost(lost: tuple[int, ...]) -> None:
    world = World.encrypting(ENO, filters=[drop_nth(any_packet, *lost)])
    works(world, *crossing(world))


def test_a_bad_path() -> None:
    for seed in range(30):
        conditions = Conditions(loss=0.05, duplication=0.05, reordering=0.3, corruption=0.02)
        world = World.encrypting(ENO, seed=seed, conditions=conditions)
        client, server = crossing(world, ("client" if seed % 2 else "server",))
        world.exchange(client, server, 3000)
        world.assert_healthy()
        world.assert_nothing_in_clear()


@pytest.mark.parametrize(
    ("sender", "stripped"),
    [
        ("client", has_flags(SYN | ACK, SYN)),
        ("server", has_flags(SYN | ACK, SYN)),
        ("server", SYN_ACK),
        ("client", has_flags(SYN, SYN)),
        ("server", has_flags(SYN, SYN)),
    ],
    ids=["SYN of A", "SYN of B", "SYN ACK of B", "SYNs of A", "SYNs of B"],
)
def test_the_option_is_stripped(sender: str, stripped: Predicate) -> None:
    """Nobody's stream is mixed with the other's messages: the connection is plain, or fails."""
    world = World.encrypting(ENO, filters=[strip(ENO_KIND, all_of(stripped, sent_by(sender)))])
    client, server = crossing(world)
    client.write(text(500))
    server.write(text(700))
    world.clock.run_until(lambda: client.all_acknowledged and server.all_acknowledged, 60)
    world.clock.run_for(100)
    assert text(500).startswith(bytes(server.received))
    assert text(700).startswith(bytes(client.received))
    world.assert_healthy()
    assert (client.error is None and client.all_acknowledged) or client.error == "reset"


def test_one_host_has_no_daemon() -> None:
    world = World(client=make_engine("c", ENO))
    client, server = crossing(world, ("client",))
    world.exchange(client, server)
    world.close(client, server)
    world.assert_plain()


@pytest.mark.parametrize("lost", range(9))
def test_resumption(lost: int) -> None:
    world = World.encrypting(ENO)
    works(world, *crossing(world))
    world.clock.run_for(300)
    world.link.filters.append(drop_nth(any_packet, lost))
    began = len(world.link.log)
    client, server = crossing(world, ports={"client": 6000, "server": 6001})
    works(world, client, server)
    latest = [host.negotiated[-1] for host in world.hosts]
    assert [info.resumed for info in latest] == [True, True]
    assert latest[0].session_id == latest[1].session_id
    # Until something without SYN has come, each segment has the option.
    assert any(NO_SYN(each) and has_option(ENO_KIND)(each) for each in world.link.log[began:])


def test_roles_change_and_keys_do_not() -> None:
    """Who was A of the exchange plays B of the resumed connection (RFC 8548 section 3.5)."""
    world = World.encrypting(ENO)
    works(world, *crossing(world))
    world.clock.run_for(300)
    works(world, *crossing(world, ("client",), {"client": 6000, "server": 6001}))
    latest = [host.negotiated[-1] for host in world.hosts]
    assert [info.role for info in latest] == ["B", "A"]
    assert [info.resumed for info in latest] == [True, True]


def test_a_reset_in_between() -> None:
    world = World.encrypting(ENO)
    client, server = crossing(world)
    assert world.clock.run_until(lambda: len(world.link.log) >= 3, LIMIT)
    client.abort()
    world.clock.run_for(300)
    assert not world.server.stack.sockets
    assert server.error is not None
    for host in world.hosts:
        assert host.daemon.counters()["connections"] == 0


def overtaking(world: World, passive: tuple[str, ...]) -> tuple[Socket, Socket]:
    """The server opens between the verdict on the client's SYN and its delivery."""
    choose_roles(world, passive, PORTS)
    stack = world.server.stack
    opened: list[Socket] = []
    receive = stack.receive

    def late(packet: bytes) -> None:
        if not opened:
            opened.append(stack.open(world.client.address, PORTS["client"], local_port=PORTS["server"]))
        world.clock.after(0.0, lambda: receive(packet))

    stack.receive = late  # type: ignore[method-assign]
    client = world.client.stack.open(world.server.address, PORTS["server"], local_port=PORTS["client"])
    assert world.clock.run_until(lambda: bool(opened), LIMIT)
    return client, opened[0]


@pytest.mark.parametrize("passive", ["client", "server"])
def test_a_syn_of_the_kernel_s_overtakes_the_peer_s(passive: str) -> None:
    world = World.encrypting(ENO)
    works(world, *overtaking(world, (passive,)))
    assert roles(world) == (["A", "B"] if passive == "server" else ["B", "A"])


def test_an_overtaking_syn_that_cannot_be_encrypted_is_plain() -> None:
    world = World.encrypting(ENO)
    client, server = overtaking(world, ())
    world.exchange(client, server)
    world.close(client, server)
    world.assert_plain()
