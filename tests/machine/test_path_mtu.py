"""A path that gets narrower while a connection is open, and routers that say so or do not."""

from collections.abc import Callable

import pytest

from tcpcryptd.core.path_mtu import PathMtus
from tcpcryptd.core.verdict import Action, ConnectionClass, Direction
from tests.machine.endpoint import Behaviour
from tests.machine.icmp import read_too_big, too_big_error
from tests.machine.link import Crossing, drop_nth
from tests.machine.world import ENO, LIMIT, MARKER, MODERN, ORIGINAL, PORT, Suite, World, text

SUITES = pytest.mark.parametrize("suite", [ORIGINAL, MODERN, ENO], ids=["original", "modern", "eno"])
VERSIONS = pytest.mark.parametrize("version", [4, 6])
PATH, SIZE = 1400, 60_000


class Router:
    """A filter of the link: what is too large does not pass, and is answered unless the router is silent."""

    def __init__(self, world: World, mtu: int, *, silent: bool = False) -> None:
        self.told: list[tuple[str, int]] = []
        """Who was told, and how long the packet was."""
        self._hosts = {host.name: host for host in world.hosts}
        self._clock = world.clock
        self._mtu = mtu
        self._silent = silent

    def __call__(self, crossing: Crossing) -> list[bytes]:
        packet = crossing.packet
        if len(packet) <= self._mtu:
            return [packet]
        self.told.append((crossing.sender, len(packet)))
        if not self._silent:
            host = self._hosts[crossing.sender]
            error = too_big_error(packet, self._mtu)
            segment = crossing.segment
            key = segment.addresses + packet[segment.offset : segment.offset + 4]
            self._clock.after(0.01, lambda: host.receive_error(error, key))
        return []


def assert_full_segments(world: World, since: int) -> None:
    """The client's segments are as large as the path carries; of one that is cut in two the rest is short."""
    sent = [each.segment.payload_length for each in world.link.log[since:] if each.sender == "client"]
    data = [length for length in sent if length]
    assert max(data) >= PATH - 40 - 20 - 12 - 40
    assert min(data) > 40, sorted(data)


def opened(suite: Suite, version: int) -> tuple[World, Callable[[], None]]:
    """A world with an open connection, and what sends SIZE bytes more over it."""
    world = World.encrypting(suite, version=version)
    client, server = world.connect()
    world.exchange(client, server, 30_000)

    def transfer() -> None:
        before, data = len(server.received), text(SIZE)
        client.write(data)
        assert world.clock.run_until(lambda: bytes(server.received[before:]) == data, LIMIT), world.trace()

    return world, transfer


@SUITES
@VERSIONS
def test_the_kernel_learns_what_the_path_carries(suite: Suite, version: int) -> None:
    """It is told less than the path carries, by what is added to its segments, in numbers that it knows."""
    world, transfer = opened(suite, version)
    router = Router(world, PATH)
    world.link.filters.append(router)
    transfer()
    assert router.told
    lost, before = len(router.told), len(world.link.log)
    transfer()
    assert len(router.told) == lost, "segments that the path does not carry are still sent"
    (socket,) = world.client.stack.sockets.values()
    assert socket.errors_out_of_window == 0
    assert_full_segments(world, before)
    world.assert_encrypted()
    assert world.client.daemon.counters()["icmp_errors_translated"]


@SUITES
def test_a_kernel_that_knows_the_path_is_told_what_is_added(suite: Suite) -> None:
    """The kernel has the path's MTU from another connection, and the router is silent."""
    world, transfer = opened(suite, 4)
    router = Router(world, PATH, silent=True)
    world.link.filters.append(router)
    (socket,) = world.client.stack.sockets.values()
    socket.believe(PATH)
    world.client.daemon._services.path_mtus = PathMtus(lambda _: socket.path_mtu, 1)
    transfer()
    told = [each for each in world.client.injected if read_too_big(each) is not None]
    assert len(told) == 1
    lost = len(router.told)
    transfer()
    assert len(router.told) == lost


@SUITES
def test_an_error_about_what_is_not_outstanding_is_refused(suite: Suite) -> None:
    """Somebody who does not see the connection guesses a number (RFC 5927, section 4.1)."""
    world, transfer = opened(suite, 4)
    transfer()
    world.clock.run_for(1.0)
    sent = [each for each in world.link.log if each.sender == "client" and each.segment.payload_length]
    (socket,) = world.client.stack.sockets.values()
    before = socket.path_mtu
    for crossing in (sent[0], sent[-1]):
        segment = crossing.segment
        key = segment.addresses + crossing.packet[segment.offset : segment.offset + 4]
        world.client.receive_error(too_big_error(crossing.packet, PATH), key)
    assert socket.path_mtu == before
    assert world.client.daemon.counters()["icmp_errors_refused"] == 2


@SUITES
@VERSIONS
def test_an_error_that_leaves_quotes_no_plaintext(suite: Suite, version: int) -> None:
    """Of a firewall on this host that refuses what the daemon has deciphered, or of a router whose daemon has."""
    world, _ = opened(suite, version)
    client, (server,) = next(iter(world.client.stack.sockets.values())), world.server.stack.accepted
    given: list[bytes] = []
    receive = world.server.stack.receive
    world.server.stack.receive = lambda packet: (given.append(packet), receive(packet))[1]  # type: ignore[method-assign, func-returns-value]
    count, received = len(world.link.log), len(server.received)
    client.write(text(1000))
    assert world.clock.run_until(lambda: len(server.received) > received, LIMIT)
    (packet,) = (each for each in given if MARKER in each)
    (crossing,) = (each for each in world.link.log[count:] if each.segment.payload_length)
    error = too_big_error(packet, PATH)
    assert MARKER in error
    action, translated, _ = world.server.daemon.handle_packet(
        error, Direction.OUT, world.clock.now, ConnectionClass.ENCRYPTED
    )
    assert action is Action.MODIFY
    assert translated is not None
    assert MARKER[:4] not in translated
    read = read_too_big(translated)
    assert read is not None
    segment = crossing.segment
    assert segment.sequence <= read.sequence <= segment.end
    assert read.mtu == PATH


def test_an_error_about_nobodys_connection() -> None:
    """Another worker's, perhaps."""
    world, _ = opened(MODERN, 4)
    (crossing, *_) = (each for each in world.link.log if each.sender == "server")
    error = too_big_error(crossing.packet, PATH)
    verdict = world.client.daemon.handle_packet(error, Direction.IN, world.clock.now)
    assert verdict == (Action.ELSEWHERE, None, ConnectionClass.UNDECIDED)


def test_a_packet_that_the_kernel_is_to_cut_has_the_options_that_it_knows_of() -> None:
    """Each of its segments would be longer than the path carries: selective acknowledgments go with other packets."""
    whole = Behaviour(segments_in_packet=8, in_flight=64_000)
    world = World.encrypting(ENO)
    world.server.stack.listen(PORT, whole)
    client, server = world.connect(behaviour=whole)
    world.exchange(client, server, 30_000)
    world.link.filters.append(drop_nth(lambda crossing: crossing.segment.payload_length > 1000, *range(2, 40, 5)))
    world.exchange(client, server, 200_000)
    large = [each.segment for each in world.link.log if len(each.packet) > 1500]
    assert large
    assert {len(segment.option_area) for segment in large} == {12}
    assert any(len(each.segment.option_area) > 12 for each in world.link.log if len(each.packet) <= 1500)


@pytest.mark.parametrize(("suite", "added"), [(MODERN, 40), (ENO, 20)], ids=["crypt", "eno"])
@VERSIONS
def test_a_kernel_whose_packets_grow_behind_the_daemon_sends_smaller_ones(
    suite: Suite, added: int, version: int
) -> None:
    """IPsec: its SYN has the link's MSS, and only the route has less."""
    world = World.encrypting(suite, version=version)
    for host in world.hosts:
        host.daemon._services.path_mtus = PathMtus(lambda _: 1400, 1)
    client, server = world.connect()
    headers = 40 if version == 4 else 60
    assert client._mss <= 1400 - headers - added
    assert server._mss <= 1400 - headers - added
    world.link.log.clear()
    world.exchange(client, server, 60_000)
    assert max(len(crossing.packet) for crossing in world.link.log) <= 1400
