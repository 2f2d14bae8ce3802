"""Init1 and Init2 on the wire: lost, repeated, cut, and wrong (RFC 8548 sections 3.3 and 4.1)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tcpcryptd.core.event import ConnectionState
from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.crypto.ecdhe import X25519
from tcpcryptd.crypto.frame_aead import AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, FRAME_AEADS, FrameAead
from tcpcryptd.crypto.key_scheme import KeyScheme
from tcpcryptd.eno import EnoConfig
from tcpcryptd.eno.config import SCHEMES
from tcpcryptd.eno.constants import ENO as ENO_KIND
from tcpcryptd.eno.constants import INIT1_MAGIC, INIT2_MAGIC
from tcpcryptd.eno.handshake.init_messages import Init1, Init2
from tcpcryptd.eno.limits import INIT1_PATIENCE
from tcpcryptd.wire.segment import ACK, FIN, PSH, SYN, Segment, make
from tcpcryptd.wire.sequence import add
from tests.machine.endpoint import Behaviour, State
from tests.machine.link import Conditions, Crossing, Filter, drop, drop_nth, repeat
from tests.machine.world import ENO, LIMIT, MARKER, Suite, World, make_engine, text

MAGICS = {"Init1": INIT1_MAGIC.to_bytes(4, "big"), "Init2": INIT2_MAGIC.to_bytes(4, "big")}
MESSAGES = pytest.mark.parametrize("message", MAGICS)


def carries(message: str) -> Callable[[Crossing], bool]:
    return lambda crossing: crossing.segment.payload.startswith(MAGICS[message])


def suite(schemes: tuple[KeyScheme, ...] = SCHEMES, aeads: tuple[FrameAead, ...] = FRAME_AEADS) -> Suite:
    return replace(ENO, eno=EnoConfig(schemes, aeads))


def opened(world: World) -> None:
    world.talk()
    world.assert_encrypted()


def rewritten(message: str, change: Callable[[bytes], bytes]) -> Filter:
    """The message with other contents."""

    def apply(crossing: Crossing) -> list[bytes]:
        if not carries(message)(crossing):
            return [crossing.packet]
        return [crossing.segment.edited(payload=change(crossing.segment.payload))]

    return apply


def test_what_is_on_the_wire() -> None:
    """ENO in both SYNs and in host A's first ACK, which has Init1; PSH on both messages; nothing more of either."""
    world = World.encrypting(ENO)
    opened(world)
    with_option = [each.segment for each in world.link.log if each.segment.option(ENO_KIND) is not None]
    assert [segment.flags for segment in with_option] == [SYN, SYN | ACK, ACK | PSH]
    assert with_option[2].option(ENO_KIND) == b""
    for message in MAGICS:
        (segment,) = [each.segment for each in world.link.log if carries(message)(each)]
        assert segment.flags & PSH


@MESSAGES
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_message_is_lost(message: str, times: int) -> None:
    opened(World.encrypting(ENO, filters=[drop_nth(carries(message), *range(1, times + 1))]))


@MESSAGES
def test_a_message_comes_twice(message: str) -> None:
    opened(World.encrypting(ENO, filters=[repeat(carries(message))]))


@pytest.mark.parametrize("size", [1, 3, 7, 30, 100])
@MESSAGES
@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "backwards"])
def test_a_message_spans_segments(message: str, size: int, backwards: bool) -> None:
    def cut(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if not carries(message)(crossing):
            return [crossing.packet]
        payload = segment.payload
        parts = [
            segment.edited(sequence=add(segment.sequence, at), payload=payload[at : at + size])
            for at in range(0, len(payload), size)
        ]
        return parts[::-1] if backwards else parts

    world = World.encrypting(ENO, filters=[cut])
    opened(world)


@pytest.mark.parametrize("closes", [False, True], ids=["data", "data and FIN"])
@pytest.mark.parametrize("cut", [None, 10], ids=["one segment", "two segments"])
def test_frames_follow_init2_in_its_segment(cut: int | None, closes: bool) -> None:
    """A message need not end at a segment boundary (section 3.3): nothing behind it is sent twice."""
    held: list[Crossing] = []

    def merged(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if carries("Init2")(crossing) and not held:
            held.append(crossing)
            return []
        if crossing.sender != "server" or not segment.payload_length or len(held) != 1:
            return [crossing.packet]
        init2 = held[0].segment
        assert segment.sequence == add(init2.sequence, init2.payload_length)
        held.append(crossing)
        whole = init2.payload + segment.payload
        at = len(init2.payload) + cut if cut is not None else 0
        first = segment.edited(sequence=init2.sequence, payload=whole[:at], flags=segment.flags & ~FIN)
        last = segment.edited(sequence=add(init2.sequence, at), payload=whole[at:])
        return [last, first] if cut is not None else [last]

    world = World.encrypting(ENO, filters=[merged])
    client = world.open()
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), LIMIT)
    (server,) = world.server.stack.accepted
    server._finish = closes
    server.write(text(500))
    assert world.clock.run_until(lambda: bytes(client.received) == text(500), LIMIT)
    world.clock.run_for(5)
    assert client.peer_finished == closes
    assert len(held) == 2
    assert sum(each.segment.payload_length > 0 for each in world.link.log if each.sender == "server") == 2
    world.assert_encrypted()
    if not closes:
        world.exchange(client, server)
        world.close(client, server)


@MESSAGES
def test_a_part_of_a_message_is_acknowledged(message: str) -> None:
    """The peer may wait with the rest until then, when it begins with a small window."""
    found: list[Segment] = []

    def cut(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if found or not carries(message)(crossing):
            return [crossing.packet]
        found.append(segment)
        return [segment.edited(payload=segment.payload[:30], flags=segment.flags & ~PSH)]

    world = World.encrypting(ENO, filters=[cut])
    client = world.open()
    assert world.clock.run_until(lambda: bool(found), LIMIT)
    began = len(world.link.log)
    world.clock.run_for(0.1)
    receiver = "server" if message == "Init1" else "client"
    numbers = {each.segment.acknowledgment for each in world.link.log[began:] if each.sender == receiver}
    assert add(found[0].sequence, 30) in numbers
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), LIMIT)
    world.exchange(client, world.server.stack.accepted[0])
    world.assert_encrypted()


@pytest.mark.parametrize("size", [None, 30, 0], ids=["at its end", "inside", "before it"])
@MESSAGES
def test_fin_where_a_message_ends_or_before_aborts(message: str, size: int | None) -> None:
    """No frame with FINp has come, and none can (RFC 8548 section 3.7): no end of file, but an error at both ends."""

    def finished(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if not carries(message)(crossing):
            return [crossing.packet]
        return [segment.edited(payload=segment.payload[:size], flags=segment.flags | FIN)]

    world = World.encrypting(ENO, filters=[finished])
    client = world.open(data=text(1000))
    world.clock.run_for(0.3)
    assert client.error == "reset"
    assert not client.peer_finished
    assert not world.server.stack.sockets
    assert all(not server.received and not server.peer_finished for server in world.server.stack.accepted)
    engine = (world.server if message == "Init1" else world.client).daemon
    assert engine.counters()["truncated"] == 1
    world.assert_nothing_in_clear()


def test_a_bad_path() -> None:
    for seed in range(30):
        conditions = Conditions(loss=0.15, duplication=0.1, reordering=0.3, corruption=0.03)
        world = World.encrypting(ENO, seed=seed, conditions=conditions)
        client, server = world.connect()
        world.exchange(client, server, 3000)
        world.assert_healthy()


@MESSAGES
def test_a_message_never_comes(message: str) -> None:
    """Encryption is enabled: there is no way back, and neither application waits for ever."""
    world = World.encrypting(ENO, filters=[drop(carries(message))])
    client = world.open(data=text(300))
    assert world.clock.run_until(lambda: client.error == "reset", 60), world.trace()
    world.clock.run_for(200)
    world.assert_nothing_in_clear()
    for host in world.hosts:
        assert host.daemon.counters()["connections"] == 0
        assert not host.stack.sockets


def test_host_a_vanishes_before_init1() -> None:
    """The passive opener has an ACK with the option, and then nothing."""
    world = World.encrypting(ENO)
    client = world.open(behaviour=Behaviour(timestamps=False))
    assert world.clock.run_until(lambda: len(world.link.log) == 2, LIMIT)
    world.link.filters.append(drop(lambda crossing: crossing.sender == "client"))
    syn_ack = world.link.log[1].segment
    first = make(
        client.key,
        sequence=syn_ack.acknowledgment,
        acknowledgment=add(syn_ack.sequence, 1),
        flags=ACK,
        window=1000,
        option_area=bytes((ENO_KIND, 2, 1, 1)),
    )
    world.link.deliver("client", first)
    world.clock.run_for(1)
    (server,) = world.server.stack.accepted
    server.write(MARKER)
    assert world.clock.run_until(lambda: server.error == "reset", INIT1_PATIENCE + 5)
    world.assert_nothing_in_clear()


def _changed(at: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda payload: payload[:at] + value + payload[at + len(value) :]


WRONG = [
    pytest.param("Init1", _changed(0, b"GET "), id="no Init1 at all"),
    pytest.param("Init1", _changed(4, b"\xff\xff\xff\xff"), id="Init1 too long"),
    pytest.param("Init1", _changed(4, b"\0\0\0\x09"), id="Init1 too short"),
    pytest.param("Init1", _changed(8, b"\0"), id="no cipher"),
    pytest.param("Init1", lambda payload: payload[:-32] + bytes(32), id="a key of zeros from A"),
    pytest.param("Init2", _changed(0, b"HTTP"), id="no Init2 at all"),
    pytest.param("Init2", _changed(4, b"\0\0\0\x09"), id="Init2 too short"),
    pytest.param("Init2", _changed(8, b"\x12\x34"), id="a cipher that was not offered"),
    pytest.param("Init2", lambda payload: payload[:-32] + bytes(32), id="a key of zeros from B"),
    pytest.param("Init1", _changed(9, b"\x12\x34"), id="another cipher list"),
    pytest.param("Init1", lambda payload: payload[:-1] + bytes((payload[-1] ^ 1,)), id="another key from A"),
    pytest.param("Init2", lambda payload: payload[:-1] + bytes((payload[-1] ^ 1,)), id="another key from B"),
]


@pytest.mark.parametrize(("message", "change"), WRONG)
def test_wrong_messages_abort(message: str, change: Callable[[bytes], bytes]) -> None:
    """Both applications see a reset, which is no end of file, or nothing comes through; nothing leaves in clear."""
    world = World.encrypting(suite((X25519,)), filters=[rewritten(message, change)])
    client = world.open(data=text(2000))
    assert world.clock.run_until(lambda: bool(client.error), 300)
    world.clock.run_for(INIT1_PATIENCE + 60)
    servers = world.server.stack.accepted
    assert not client.peer_finished
    assert all(not server.received and not server.peer_finished for server in servers)
    if client.error == "reset":
        assert not [server for server in servers if server.state is not State.CLOSED]
    else:
        # Keys differ: frames fail, and are not acknowledged (section 3.6).
        assert client.error == "timed out"
        assert world.session_ids()[0] != world.session_ids()[1]
    world.assert_nothing_in_clear()


def test_bytes_behind_the_keys_are_ignored() -> None:
    """Both messages grow by a field of some later version (section 4.1): here both hosts send longer ones."""
    with pytest.MonkeyPatch.context() as patch:
        for message in (Init1, Init2):
            encode = message.encode

            def longer(self: object, encode: Callable[[object], bytes] = encode) -> bytes:  # type: ignore[assignment]
                encoded = encode(self) + b"more"
                return encoded[:4] + len(encoded).to_bytes(4, "big") + encoded[8:]

            patch.setattr(message, "encode", longer)
        opened(World.encrypting(ENO))


def test_no_common_cipher_aborts() -> None:
    engines = [make_engine("engine", suite(aeads=(each,))) for each in (AES_128_GCM, AES_256_GCM)]
    world = World(client=engines[0], server=engines[1])
    client = world.open(data=text(100))
    assert world.clock.run_until(lambda: client.error == "reset", 5), world.trace()
    assert not world.server.stack.sockets
    assert world.server.daemon.counters()["no_common_cipher"] == 1
    world.assert_nothing_in_clear()


@pytest.mark.parametrize("aead", FRAME_AEADS, ids=lambda each: each.name)
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda each: each.name)
def test_each_algorithm(scheme: KeyScheme, aead: FrameAead) -> None:
    world, client, _ = World.opened(suite((scheme,), (aead,)))
    for host, ends in ((world.client, world.ends(client)), (world.server, world.ends(client)[::-1])):
        info = host.daemon.connection(*ends)
        assert info is not None
        assert info.suite == f"{scheme.name}/{aead.name}"
        assert info.session_id is not None
        assert (info.session_id[0], len(info.session_id)) == (scheme.tep | (0x80 if scheme.agreement else 0), 33)
        assert info.role == ("A" if host is world.client else "B")
    world.assert_encrypted()


def test_what_is_known_before_the_keys() -> None:
    """Encryption is enabled and the handshake is not over: an application waits for the session ID."""
    world = World.encrypting(ENO, filters=[drop(carries("Init2"))])
    client = world.open()
    world.clock.run_for(0.1)
    for host, ends in ((world.client, world.ends(client)), (world.server, world.ends(client)[::-1])):
        info = host.daemon.connection(*ends)
        assert info is not None
        # The server has keys, and does not know whether the client has.
        assert (info.state, info.reason) == (ConnectionState.HANDSHAKE, "the handshake is not over")
        assert info.session_id is None
        assert host.daemon.counters()["encrypted"] == 0
    assert world.client.tracked[client.key].mark is ConnectionClass.ENCRYPTED
    world.link.filters.clear()
    world.clock.run_for(5)
    for host in world.hosts:
        assert [each.state for each in host.daemon.connections()] == [ConnectionState.ENCRYPTED]


def test_host_b_chooses_by_its_own_order() -> None:
    ours, theirs = (AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305), (CHACHA20_POLY1305, AES_256_GCM)
    world = World(client=make_engine("c", suite(aeads=ours)), server=make_engine("s", suite(aeads=theirs)))
    client, _ = world.connect()
    world.clock.run_for(1)
    info = world.client.daemon.connection(*world.ends(client))
    assert info is not None
    assert info.suite == f"{SCHEMES[0].name}/{CHACHA20_POLY1305.name}"


@pytest.mark.parametrize("isn", [2**32 - 1, 2**32 - 40, 2**32 - 100, 2**32 - 111])
@MESSAGES
def test_a_message_crosses_the_wrap(message: str, isn: int) -> None:
    world = World.encrypting(ENO)
    if message == "Init2":
        # The server's first sequence number is drawn first of all.
        draw = world.server.stack.random.randrange
        world.server.stack.random.randrange = lambda *limits: isn if limits == (1 << 32,) else draw(*limits)  # type: ignore[method-assign]
    client = world.open(isn=isn if message == "Init1" else None)
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted), LIMIT)
    world.exchange(client, world.server.stack.accepted[0])
    world.assert_encrypted()


@pytest.mark.parametrize("closing", ["client", "server"])
@pytest.mark.parametrize("crossings", range(2, 6))
def test_an_application_gives_up_in_the_handshake(closing: str, crossings: int) -> None:
    world = World.encrypting(ENO)
    client = world.open()
    assert world.clock.run_until(lambda: len(world.link.log) >= crossings, LIMIT)
    sockets = list(world.host(closing).stack.sockets.values())
    for socket in sockets:
        socket.abort()
    world.clock.run_for(INIT1_PATIENCE + 100)
    assert client.error is not None or closing == "server"
    for host in world.hosts:
        assert not host.stack.sockets
        assert host.daemon.counters()["connections"] == 0
