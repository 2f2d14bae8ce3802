"""What has to hold after every step of a script, whatever the step was."""

from typing import Any

from fuzz.stream import MARK, Stream
from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.event import InternalError
from tcpcryptd.core.limits import MAX_EVENTS, MAX_INJECTIONS
from tcpcryptd.core.verdict import Action, ConnectionClass, WholeVerdict
from tcpcryptd.wire.segment import MalformedPacket, adjacent_packets, reverse_key
from tests.machine.host import Host
from tests.machine.link import view
from tests.machine.stack import folded_sum

BOUNDS = EngineConfig(max_connections=12, max_opening=6, max_plain_records=8, max_sessions=8, max_options=8)
"""Small, so that a short script reaches them."""
MTU = 576
"""The smallest MTU of a link here. The kernel cuts longer packets and makes their checksums."""
_TIMERS_PER_CONNECTION = 3
_HEAP_SLACK = 64


class Violation(AssertionError):
    """Something does not hold that has to hold: a bug in the package, or in the fuzzer."""


def require(condition: object, what: str) -> None:
    """Raises Violation when the condition does not hold."""
    if not condition:
        raise Violation(what)


def check_engine(engine: Engine, host: Host) -> None:
    """No exception of its own, and no table beyond its bound."""
    services = engine._services
    errors = [event.description for event in host.events if isinstance(event, InternalError)]
    require(services.counters["internal_errors"] == 0, f"{host.name}: an exception in the engine: {errors}")
    require(services.counters["memory_shortages"] == 0, f"{host.name}: an exception that says there is no memory")
    table = engine._table
    require(len(table.outbound) <= BOUNDS.max_connections, f"{host.name}: too many connections")
    require(table.outbound.keys() == {reverse_key(key) for key in table.inbound}, f"{host.name}: the tables differ")
    require(len(table._opening) <= BOUNDS.max_opening, f"{host.name}: too many handshakes")
    for records in table._plain.values():
        require(len(records) <= BOUNDS.max_plain_records, f"{host.name}: too many records")
    require(len(services.sessions) <= BOUNDS.max_sessions, f"{host.name}: too many sessions")
    require(len(services.options.endpoints()) <= BOUNDS.max_options, f"{host.name}: too many options")
    require(len(services.events) <= MAX_EVENTS, f"{host.name}: too many events")
    require(len(services.injections) <= MAX_INJECTIONS, f"{host.name}: too many packets to inject")
    live = sum(entry[2].callback is not None for entry in services.timers._heap)
    require(live <= _TIMERS_PER_CONNECTION * len(table.outbound), f"{host.name}: {live} timers")
    heap = len(services.timers._heap)
    require(heap <= _HEAP_SLACK + 2 * _TIMERS_PER_CONNECTION * BOUNDS.max_connections, f"{host.name}: {heap} in heap")


def check_verdict(packet: bytes, verdict: WholeVerdict) -> None:
    """A verdict is well formed; what was right before it is right after it."""
    action, changed, connection_class = verdict
    carries = action in (Action.MODIFY, Action.SPLIT)
    require((changed is not None) == carries, "a verdict with the wrong packet")
    require(connection_class in ConnectionClass, "a verdict without a class")
    if changed is not None:
        for each in adjacent_packets(changed) if action is Action.SPLIT else [changed]:
            check_packet(each)


def check_packet(packet: bytes) -> None:
    """A packet that the engine made has right lengths and checksums."""
    try:
        segment = view(packet)
    except MalformedPacket as error:
        raise Violation(f"the engine made a packet that is none: {error}") from error
    left_to_the_kernel = len(packet) > MTU and packet[segment.offset + 16 : segment.offset + 18] == b"\0\0"
    require(segment.checksum_is_right or left_to_the_kernel, f"the engine made a wrong TCP checksum: {packet.hex()}")
    require(has_right_header(packet), "the engine made a wrong IP checksum")


def has_right_header(packet: bytes) -> bool:
    """Whether the checksum of an IPv4 header fits."""
    return packet[0] >> 4 != 4 or folded_sum(packet[: (packet[0] & 0xF) * 4]) == 0xFFFF


def check_stream(stream: Stream, streams: dict[int, Stream]) -> None:
    """What an encrypted connection delivers is what its peer wrote, from the first byte on."""
    socket = stream.socket
    fresh = bytes(socket.received[stream.checked :])
    if not fresh or not stream.encrypted or stream.hostile:
        return
    if stream.source is None:
        number = fresh[len(MARK) : len(MARK) + 15]
        source = streams.get(int(number)) if number.isdigit() else None
        require(source is not None or len(fresh) < len(MARK) + 15, f"{stream} got what nobody wrote: {fresh[:40]!r}")
        if source is None:
            return
        require(source.socket.key == reverse_key(socket.key), f"{stream} got what {source} wrote to somebody else")
        if source.hostile:
            stream.hostile = True
            return
        stream.source = source
    require(stream.source.matches(fresh, stream.checked), f"{stream} got a wrong byte")
    stream.checked += len(fresh)


def snapshot(host: Host, key: bytes) -> dict[object, Any]:
    """All that a packet for the connection `key` must not change when its sender sees nothing.

    Of others only the sockets: a SYN can take the place of the oldest handshake in a full table.
    """
    engine = host.engine
    if engine is None:
        return {}
    state: dict[object, Any] = {"sessions": len(engine._services.sessions)}
    known = engine._table.outbound.get(key)
    if known is not None:
        state["connection"] = (known.phase, repr(known.state), known.info())
    for other, socket in host.stack.sockets.items():
        state["socket", other] = (socket.state, socket.error, len(socket.received), socket.peer_finished)
    return state
