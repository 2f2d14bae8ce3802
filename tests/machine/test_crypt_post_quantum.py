"""The hybrid key agreement of `crypt`: when it fits, and what becomes of a message that is too large."""

from collections.abc import Callable, Collection
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.options import ClientMode, ConnectionOptions
from tcpcryptd.core.verdict import Direction
from tcpcryptd.crypt.constants import Opcode
from tcpcryptd.crypt.handshake.messages import Init1, Init2
from tcpcryptd.crypto.suites import AES_SIV_CMAC_256, X25519_HPKE
from tcpcryptd.wire.segment import with_length
from tests.machine.endpoint import Behaviour
from tests.machine.link import Conditions, Crossing, Filter, Predicate, any_packet, drop, drop_nth
from tests.machine.original_state import find
from tests.machine.test_post_quantum import CLASSICAL, HYBRID, REQUIRED, WITHOUT, outcome, suite_of
from tests.machine.world import (
    ALL,
    FROM_ORIGINAL,
    LIMIT,
    PORT,
    POST_QUANTUM,
    TO_ORIGINAL,
    Suite,
    World,
    make_engine,
    text,
)

NETWORK = ip_network("10.0.0.0/8")
SMALL, INIT1, INIT2 = 76, 1260, 1160
"""Bytes of the messages between two of these daemons, the smaller INIT1 first."""
STAMPED, BARE = 16, 4
"""Bytes of options beside them."""
LOST = [(), *((each,) for each in range(1, 10)), (1, 2), (2, 3), (3, 4), (4, 5), (3, 5), (3, 4, 5), (4, 6)]
SWITCHED = pytest.mark.parametrize("switched", [False, True], ids=["usual", "switched"])


def switch(world: World) -> None:
    """The server becomes the client of the exchange."""
    world.server.daemon.set_options(
        ConnectionOptions(client_mode=ClientMode.ALWAYS), Endpoint(world.server.address, PORT)
    )


def is_large(opcode: int) -> Predicate:
    return lambda crossing: find(crossing.segment, opcode) is not None and crossing.segment.payload_length > 1000


def narrow(size: int) -> Filter:
    """A link that loses packets of more than so many bytes and says nothing."""
    return drop(lambda crossing: len(crossing.packet) > size)


def messages(world: World, opcode: int) -> list[Crossing]:
    return [crossing for crossing in world.link.log if find(crossing.segment, opcode) is not None]


@SWITCHED
@pytest.mark.parametrize("version", [4, 6])
def test_two_of_these_daemons_have_it(version: int, switched: bool) -> None:
    world = World.encrypting(version=version)
    if switched:
        switch(world)
    client, server = world.connect()
    world.exchange(client, server)
    world.assert_encrypted()
    assert suite_of(world, client) == HYBRID
    for name in ("client", "server"):
        assert outcome(world.host(name).daemon) == {"post_quantum": 1}
        (info,) = world.host(name).daemon.connections()
        assert info.post_quantum
        assert info.public_key is not None
        assert len(info.public_key) == 1216
    assert [crossing.segment.payload_length for crossing in messages(world, Opcode.INIT1)] == [INIT1]
    assert [crossing.segment.payload_length for crossing in messages(world, Opcode.INIT2)] == [INIT2]
    world.close(client, server)


@pytest.mark.parametrize("suite", [FROM_ORIGINAL, TO_ORIGINAL], ids=["from", "to"])
def test_the_original(suite: Suite) -> None:
    world = World.encrypting(suite)
    client, server = world.connect(behaviour=Behaviour(timestamps=False))
    world.exchange(client, server)
    world.assert_encrypted()
    assert outcome(world.ours) == {"classical_peer": 1}


@SWITCHED
@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("narrow_end", ["client", "server"])
@pytest.mark.parametrize("spare", [0, -1])
def test_it_is_chosen_exactly_when_it_fits_both_links(
    spare: int, narrow_end: str, timestamps: bool, switched: bool
) -> None:
    world = World.encrypting()
    if switched:
        switch(world)
    mss = INIT1 + (STAMPED if timestamps else BARE) + spare
    behaviours = {"client": Behaviour(timestamps=timestamps), "server": Behaviour(timestamps=timestamps)}
    behaviours[narrow_end] = replace(behaviours[narrow_end], mss=mss)
    world.server.stack.listen(PORT, behaviours["server"])
    # No link carries more than its host says, with headers.
    world.link.filters.append(narrow(mss + 40))
    client, server = world.connect(behaviour=behaviours["client"])
    world.exchange(client, server, 3000)
    world.assert_encrypted()
    assert suite_of(world, client) == (HYBRID if spare == 0 else CLASSICAL)
    expected = {"post_quantum": 1} if spare == 0 else {"classical_size": 1}
    assert outcome(world.client.daemon) == outcome(world.server.daemon) == expected
    assert len(messages(world, Opcode.INIT1)) == len(messages(world, Opcode.INIT2)) == 1


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("where", ["client", "server"])
@pytest.mark.parametrize("spare", [0, -1])
def test_what_the_kernel_knows_of_the_path_counts(version: int, where: str, spare: int) -> None:
    mtu = (20 if version == 4 else 40) + 20 + STAMPED + INIT1 + spare

    def engine(name: str) -> Engine:
        return make_engine(name, path_mtu=lambda _: mtu if name == where else None)

    world = World(client=engine("client"), server=engine("server"), version=version)
    client, server = world.connect()
    world.exchange(client, server)
    world.assert_encrypted()
    assert suite_of(world, client) == (HYBRID if spare == 0 else CLASSICAL)
    if spare:
        assert outcome(world.host(where).daemon) == {"classical_size": 1}
        assert outcome(world.host("server" if where == "client" else "client").daemon) == {"classical_peer": 1}


@SWITCHED
@pytest.mark.parametrize("lost", ["INIT1", "INIT2"])
def test_a_path_that_swallows_large_packets(lost: str, switched: bool) -> None:
    """The MSS says that they fit."""
    world = World.encrypting()
    if switched:
        switch(world)
    initiator = "server" if switched else "client"
    world.link.filters.append(drop(is_large(Opcode[lost])))
    client, server = world.connect()
    client.write(b"request")
    server.write(b"response")
    began = world.clock.now
    done = lambda: (bytes(client.received), bytes(server.received)) == (b"response", b"request")  # noqa: E731
    assert world.clock.run_until(done, LIMIT), world.trace()
    assert world.clock.now - began < 2.0
    world.assert_encrypted()
    assert suite_of(world, client) == CLASSICAL
    sizes = [crossing.segment.payload_length for crossing in messages(world, Opcode.INIT1)]
    assert sizes == [INIT1, INIT1, SMALL]
    for name in ("client", "server"):
        # Who has never seen the large one cannot tell why.
        late = lost == "INIT1" and name != initiator
        assert outcome(world.host(name).daemon) == {"classical_peer" if late else "classical_loss": 1}


def test_a_path_that_turns_out_to_be_narrow_is_not_tried_twice() -> None:
    """A router has told the kernel meanwhile."""
    known: list[int | None] = [None]
    world = World(client=make_engine("c", path_mtu=lambda _: known[0]), server=make_engine("s"))
    world.link.filters.append(narrow(1280))
    client = world.open(data=b"request")
    assert world.clock.run_until(lambda: bool(messages(world, Opcode.INIT1)), LIMIT)
    known[0] = 1280
    assert world.clock.run_until(lambda: client.all_acknowledged, LIMIT)
    world.assert_encrypted()
    assert [crossing.segment.payload_length for crossing in messages(world, Opcode.INIT1)] == [INIT1, SMALL]
    assert outcome(world.client.daemon) == {"classical_size": 1}


@pytest.mark.parametrize("delay", [0.002, 0.08, 0.4, 0.7])
@pytest.mark.parametrize("lost", LOST)
@SWITCHED
def test_whatever_is_lost_both_ends_have_the_same_keys_or_none(
    lost: Collection[int], delay: float, switched: bool
) -> None:
    """Late answers to an INIT1 that was given up, and INIT1 that comes when another one was answered."""
    world = World.encrypting(conditions=Conditions(delay=delay), filters=(drop_nth(any_packet, *lost),))
    if switched:
        switch(world)
    client = world.open(data=text(3000, b"request "))
    assert world.clock.run_until(lambda: client.all_acknowledged or client.error is not None, LIMIT), world.trace()
    world.clock.run_for(30)
    (server,) = world.server.stack.accepted
    server.write(text(2000, b"response "))
    world.clock.run_for(60)
    assert (client.error, server.error) == (None, None), world.trace()
    assert bytes(server.received) == text(3000, b"request ")
    assert bytes(client.received) == text(2000, b"response ")
    world.assert_healthy()
    if world.session_ids() != (None, None):
        world.assert_encrypted()


def replaced(opcode: int, change: Callable[[bytes], bytes], sender: str, times: int = 100) -> Filter:
    """Somebody on the path puts another message into the segments that carry one."""
    count = [0]

    def filter_(crossing: Crossing) -> list[bytes]:
        if crossing.sender != sender or find(crossing.segment, opcode) is None or count[0] >= times:
            return [crossing.packet]
        count[0] += 1
        return [crossing.segment.edited(payload=change(crossing.segment.payload))]

    return filter_


def with_key(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def changed(payload: bytes) -> bytes:
        init1 = Init1.decode(payload)
        return replace(init1, public_key=change(init1.public_key)).encode()

    return changed


def with_ciphertext(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def changed(payload: bytes) -> bytes:
        init2 = Init2.decode(payload)
        return replace(init2, ciphertext=change(init2.ciphertext)).encode()

    return changed


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "zero": lambda value: bytes(len(value)),
    "ones": lambda value: b"\xff" * len(value),
    "short": lambda value: value[:-1],
    "long": lambda value: value + b"\0",
    "half": lambda value: value[:32],
    "other curve half": lambda value: value[:1090] + bytes((value[1090] ^ 1,)) + value[1091:],
    "other lattice half": lambda value: bytes((value[0] ^ 1,)) + value[1:],
    "other end": lambda value: value[:-1] + bytes((value[-1] ^ 1,)),
    "low order": lambda value: value[:-32] + bytes(32),
}


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("opcode", [Opcode.INIT1, Opcode.INIT2], ids=["INIT1", "INIT2"])
def test_a_changed_message_ends_in_no_session(opcode: Opcode, change: Callable[[bytes], bytes], required: bool) -> None:
    """Plain TCP, or a reset; never keys that differ, and nothing in clear where that must not be."""
    with_change = with_key(change) if opcode is Opcode.INIT1 else with_ciphertext(change)
    client_engine = make_engine("c", POST_QUANTUM, REQUIRED if required else None)
    world = World(client=client_engine, server=make_engine("s", POST_QUANTUM))
    world.link.filters.append(replaced(opcode, with_change, "client" if opcode is Opcode.INIT1 else "server"))
    client = world.open(data=text(3000))
    world.clock.run_for(LIMIT)
    world.clock.run_for(LIMIT)
    world.assert_healthy()
    received = b"".join(bytes(each.received) for each in world.server.stack.accepted)
    if client.error is None:
        assert not required
        assert received == text(3000)
        assert world.session_ids() == (None, None)
    else:
        assert received == b""
    if required:
        world.assert_nothing_in_clear()
    for name in ("client", "server"):
        assert outcome(world.host(name).daemon).get("post_quantum", 0) <= (name == "client")


@pytest.mark.parametrize("opcode", [Opcode.INIT1, Opcode.INIT2], ids=["INIT1", "INIT2"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_message_that_is_changed_once_is_got_over(opcode: Opcode, change: Callable[[bytes], bytes]) -> None:
    with_change = with_key(change) if opcode is Opcode.INIT1 else with_ciphertext(change)
    world = World.encrypting()
    world.link.filters.append(replaced(opcode, with_change, "client" if opcode is Opcode.INIT1 else "server", 1))
    client = world.open(data=text(3000))
    world.clock.run_for(LIMIT)
    world.assert_healthy()
    (server,) = world.server.stack.accepted
    assert client.error is not None or bytes(server.received) == text(3000)


def test_a_destination_that_requires_it_gets_no_smaller_message() -> None:
    world = World(client=make_engine("c", ALL, REQUIRED), server=make_engine("s"))
    world.link.filters.append(drop(is_large(Opcode.INIT1)))
    client = world.open(data=text(3000))
    world.clock.run_for(2 * LIMIT)
    assert client.error is not None
    assert {crossing.segment.payload_length for crossing in messages(world, Opcode.INIT1)} == {INIT1}
    world.assert_nothing_in_clear()


def test_no_session_without_it_is_resumed_with_a_destination_that_requires_it() -> None:
    networks: list[object] = []

    class Live(EngineConfig):
        def requires_post_quantum(self, address: str) -> bool:
            return bool(networks)

    world = World(client=make_engine("c", ALL, Live()), server=make_engine("s", WITHOUT["crypt"]))
    ends = world.connect()
    world.exchange(*ends)
    world.close(*ends)
    networks.append(NETWORK)
    client = world.open(port=40_001, data=text(3000))
    world.clock.run_for(2 * LIMIT)
    assert client.error is not None
    world.assert_nothing_in_clear()


def test_init1_may_not_be_cut_on_its_way() -> None:
    """Also where the kernel lets its packets be cut (ip_no_pmtu_disc)."""
    world = World.encrypting()
    world.client.stack.emit = lambda packet, emit=world.client.stack.emit: emit(_may_be_cut(packet))  # type: ignore[misc]
    client, server = world.connect()
    world.exchange(client, server)
    (init1,) = messages(world, Opcode.INIT1)
    assert init1.packet[6] & 0x40
    world.assert_encrypted()


def _may_be_cut(packet: bytes) -> bytes:
    return with_length(packet[:6] + b"\0" + packet[7:20], len(packet)) + packet[20:]


def test_a_forged_init1_in_the_place_of_a_large_one_needs_both_numbers() -> None:
    """Who does not see the connection cannot have another INIT1 answered."""
    world = World.encrypting()
    world.link.filters.append(drop(is_large(Opcode.INIT2)))
    client = world.open()
    assert world.clock.run_until(lambda: bool(messages(world, Opcode.INIT2)), LIMIT)
    (init1,) = messages(world, Opcode.INIT1)
    key = X25519_HPKE.agreement.generate().public_bytes
    forged = Init1(AES_SIV_CMAC_256.offer, bytes(16), X25519_HPKE.spec, key).encode()
    server = world.server.daemon
    before = len(messages(world, Opcode.INIT2))
    sequence, acknowledgment = init1.segment.sequence, init1.segment.acknowledgment
    for numbers in ((sequence ^ 1, acknowledgment), (sequence, acknowledgment ^ 1)):
        guess = init1.segment.edited(sequence=numbers[0], acknowledgment=numbers[1], payload=forged)
        server.handle_packet(guess, Direction.IN, world.clock.now)
    world.server.collect()
    assert {crossing.segment.payload_length for crossing in messages(world, Opcode.INIT2)[before:]} <= {INIT2}
    client.write(text(100))
    assert world.clock.run_until(lambda: client.all_acknowledged, LIMIT)
    world.assert_encrypted()


@SWITCHED
@pytest.mark.parametrize("changes", [{}, {"sequence": 7}, {"payload": b"?"}], ids=["again", "elsewhere", "damaged"])
def test_init2_is_sent_again_for_the_same_init1_alone(changes: dict[str, Any], switched: bool) -> None:
    """It is many times as large as a forged segment that could ask for it."""
    world = World.encrypting()
    if switched:
        switch(world)
    world.link.filters.append(drop(lambda crossing: find(crossing.segment, Opcode.INIT2) is not None))
    world.open(data=text(100))
    assert world.clock.run_until(lambda: bool(messages(world, Opcode.INIT2)), LIMIT)
    (init1,), responder = messages(world, Opcode.INIT1), world.host("client" if switched else "server").daemon
    asking = init1.segment.edited(**{"payload": b"", **changes})
    if "payload" in changes:
        asking = asking[:-1] + b"!"
    responder.packets_to_inject()
    responder.handle_packet(asking, Direction.IN, world.clock.now)
    assert bool(responder.packets_to_inject()) == (not changes)
