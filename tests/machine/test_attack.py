"""An attacker on the path forges segments of an open connection: nothing changes for the two ends, nothing leaks."""

from collections.abc import Callable

import pytest

from tcpcryptd.core.event import IntegrityFailure
from tcpcryptd.crypt.constants import Opcode
from tcpcryptd.crypt.handshake.messages import Init2
from tcpcryptd.crypt.option import HELLO, Suboption, encode
from tcpcryptd.eno.constants import NON_SYN
from tcpcryptd.eno.handshake import option as eno_option
from tcpcryptd.wire.options import pad
from tcpcryptd.wire.segment import ACK, FIN, PSH, RST, SYN, make, reverse_key
from tcpcryptd.wire.sequence import add, difference
from tests.machine.endpoint import Socket
from tests.machine.link import MAC, drop, sent_by
from tests.machine.world import ALL, EACH_PROTOCOL, EACH_SIDE, ENO, LIMIT, Suite, World, make_engine, text

INIT2 = Init2(b"\0\xf1\0\xf1", bytes(64)).encode()


class Attacker:
    """Knows everything that is on the wire and speaks as one of the two hosts."""

    def __init__(self, world: World, client: Socket) -> None:
        self.world = world
        self._keys = {"client": client.key, "server": reverse_key(client.key)}

    def forge(self, sender: str, flags: int, *, ahead: int = 0, options: bytes = b"", payload: bytes = b"") -> None:
        """A segment in the numbers that the receiver expects, moved by `ahead`."""
        sent = [crossing.segment for crossing in self.world.link.log if crossing.sender == sender]
        last = sent[-1]
        newest = max((segment.end for segment in sent), key=lambda end: difference(end, sent[0].sequence))
        packet = make(
            self._keys[sender],
            sequence=add(newest, ahead),
            acknowledgment=last.acknowledgment,
            flags=flags,
            window=1000,
            option_area=pad(options),
            payload=payload,
        )
        self.world.link.deliver(sender, packet)
        self.world.clock.run_for(0.1)


OFFER = eno_option.build(0, (eno_option.Suboption(0x23),), ordered=True).raw
Forgery = Callable[[Attacker, str], None]
COMMON: dict[str, Forgery] = {
    "data": lambda attacker, sender: attacker.forge(sender, ACK | PSH, payload=b"forged"),
    "SYN": lambda attacker, sender: attacker.forge(sender, SYN),
    "SYN far away": lambda attacker, sender: attacker.forge(sender, SYN, ahead=1 << 30),
    "SYN ACK": lambda attacker, sender: attacker.forge(sender, SYN | ACK),
    "RST ahead": lambda attacker, sender: attacker.forge(sender, RST, ahead=100),
    "RST far away": lambda attacker, sender: attacker.forge(sender, RST, ahead=1 << 30),
    "all flags": lambda attacker, sender: attacker.forge(sender, 0xFF, payload=b"forged"),
    "no flags": lambda attacker, sender: attacker.forge(sender, 0, payload=b"forged"),
}
CRYPT_FORGERIES: dict[str, Forgery] = COMMON | {
    "data with a MAC option": lambda attacker, sender: attacker.forge(
        sender, ACK, options=bytes((MAC, 18)) + bytes(16), payload=b"forged"
    ),
    "FIN": lambda attacker, sender: attacker.forge(sender, ACK | FIN),
    "SYN with HELLO": lambda attacker, sender: attacker.forge(sender, SYN, options=encode(HELLO)),
    "INIT2": lambda attacker, sender: attacker.forge(
        sender, ACK, options=encode(Suboption(Opcode.INIT2)), payload=INIT2
    ),
    "INIT1": lambda attacker, sender: attacker.forge(
        sender, ACK, options=encode(Suboption(Opcode.INIT1)), payload=bytes(300)
    ),
}
ENO_FORGERIES: dict[str, Forgery] = COMMON | {
    "data": lambda attacker, sender: attacker.forge(sender, ACK | PSH, payload=b"\0\0\x20" + b"forged data" * 3),
    "a frame": lambda attacker, sender: attacker.forge(sender, ACK | PSH, payload=b"\0\0\x11\0" + bytes(17)),
    "SYN with an offer": lambda attacker, sender: attacker.forge(sender, SYN, options=OFFER),
    "an ENO option": lambda attacker, sender: attacker.forge(sender, ACK, options=NON_SYN),
}
FORGERIES = [(suite, name) for suite, each in ((ALL, CRYPT_FORGERIES), (ENO, ENO_FORGERIES)) for name in each]


@EACH_SIDE
@pytest.mark.parametrize(("suite", "forgery"), FORGERIES, ids=[f"{suite.protocol} {name}" for suite, name in FORGERIES])
def test_a_forged_segment_changes_nothing(suite: Suite, forgery: str, side: str) -> None:
    world, client, server = World.opened(suite)
    for _ in range(3):
        (ENO_FORGERIES if suite is ENO else CRYPT_FORGERIES)[forgery](Attacker(world, client), side)
    world.exchange(client, server)
    world.close(client, server)
    world.assert_nothing_in_clear()


@pytest.mark.parametrize("sender", ["client", "server"])
def test_an_integrity_failure_is_reported_once(sender: str) -> None:
    world, client, _ = World.opened()
    for _ in range(5):
        COMMON["data"](Attacker(world, client), sender)
    host = world.server if sender == "client" else world.client
    assert sum(isinstance(event, IntegrityFailure) for event in host.events) == 1
    assert host.daemon.counters()["integrity_failures"] == 5


@EACH_PROTOCOL
def test_a_replayed_segment_changes_nothing(suite: Suite) -> None:
    world, client, server = World.opened(suite)
    for crossing in list(world.link.log):
        world.link.deliver(crossing.sender, crossing.packet)
    world.clock.run_for(1)
    world.exchange(client, server)
    world.close(client, server)
    world.assert_nothing_in_clear()


@pytest.mark.parametrize("victim", ["client", "server"])
@pytest.mark.parametrize("options", [b"", encode(HELLO)], ids=["SYN", "SYN with HELLO"])
def test_a_reset_that_only_the_daemon_believes(victim: str, options: bytes) -> None:
    """A hole in the stream makes the kernel and the daemon expect different numbers; then a SYN asks for new keys."""
    world, client, server = World.opened()
    near, far = (client, server) if victim == "client" else (server, client)
    attacker, name = Attacker(world, client), "server" if victim == "client" else "client"
    hole = next(each for each in reversed(world.link.log) if each.sender == name).segment.end
    world.link.filters.append(drop(lambda crossing: sent_by(name)(crossing) and crossing.segment.sequence == hole))
    far.write(text(6000))
    world.clock.run_for(0.05)
    attacker.forge(name, RST)
    attacker.forge(name, SYN, options=options)
    near.write(text(50_000))
    world.clock.run_for(10)
    world.assert_nothing_in_clear()


@pytest.mark.parametrize("options", [b"", encode(HELLO)], ids=["SYN", "SYN with HELLO"])
def test_a_syn_after_both_fins_with_data_outstanding(options: bytes) -> None:
    world, client, server = World.opened()
    server.shut_down()
    world.clock.run_for(1)
    blackhole = drop(sent_by("client"))
    world.link.filters.append(blackhole)
    client.write(text(5000))
    client.shut_down()
    world.clock.run_for(0.05)
    Attacker(world, client).forge("server", SYN, options=options)
    world.clock.run_for(1)
    world.link.filters.remove(blackhole)
    world.clock.run_for(10)
    world.assert_nothing_in_clear()
    assert bytes(server.received[-5000:]) == text(5000)


@pytest.mark.parametrize("victim", ["client", "server"])
@pytest.mark.parametrize("options", [b"", encode(HELLO)], ids=["SYN", "SYN with HELLO"])
def test_a_syn_for_what_an_earlier_daemon_encrypted(victim: str, options: bytes) -> None:
    world, client, server = World.opened()
    host, near, name = (world.client, client, "server") if victim == "client" else (world.server, server, "client")
    host.kill_engine()
    host.start_engine(make_engine("new"))
    world.link.filters.append(drop(lambda crossing: True))
    Attacker(world, client).forge(name, SYN, options=options)
    near.write(text(5000))
    world.clock.run_for(10)
    world.assert_nothing_in_clear()


@pytest.mark.parametrize("options", [b"", encode(HELLO)], ids=["SYN", "SYN with HELLO"])
@pytest.mark.parametrize("sender", ["client", "server"])
def test_a_forged_syn_does_not_stop_a_plain_connection(sender: str, options: bytes) -> None:
    """The connection is older than the daemon, which has not seen a segment of it."""
    world = World()
    client, server = world.connect()
    world.exchange(client, server)
    world.client.start_engine(make_engine("client"))
    world.server.start_engine(make_engine("server"))
    Attacker(world, client).forge(sender, SYN, options=options)
    began = world.clock.now
    world.exchange(client, server)
    assert world.clock.now - began < 5


def test_a_corrupted_syn_is_not_repaired() -> None:
    """A wrong checksum stays wrong, for the kernel to see."""
    world = World.encrypting()

    def corrupt(crossing: object) -> list[bytes]:
        packet = bytearray(crossing.packet)  # type: ignore[attr-defined]
        packet[crossing.segment.offset + 7] ^= 1  # type: ignore[attr-defined]
        return [bytes(packet)]

    world.link.filters = [corrupt]
    world.open()
    world.clock.run_for(1.5)
    assert world.server.stack.sockets == {}
    assert world.server.stack.bad_packets > 0
    world.link.filters = []
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), LIMIT)
