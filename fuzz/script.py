"""A script: bytes that say what happens, step by step."""

from collections.abc import Callable

from fuzz.arena import PORTS, Arena
from fuzz.choices import Choices
from fuzz.mutation import mutated, option_area
from fuzz.oracle import has_right_header, require, snapshot
from fuzz.stream import MARK, Stream
from fuzz.target import Target
from tcpcryptd.core.verdict import ConnectionClass, Direction
from tcpcryptd.wire.options import pad
from tcpcryptd.wire.segment import ACK, RST, SYN, make, reverse_key
from tcpcryptd.wire.sequence import add
from tests.machine.endpoint import Behaviour, State
from tests.machine.host import Host
from tests.machine.link import Conditions, Crossing, drop, sent_by
from tests.machine.world import PORT

MAX_STEPS = 400
_PAUSES = (0.0, 0.005, 0.011, 0.03, 0.2, 1.1, 8.0, 20.0)
_LONG_PAUSES = (80.0, 160.0, 3_700.0, 8_000.0, 90_000.0)
_SIZES = (1, 31, 400, 1_500, 4_000, 20_000)
_BURST = 32
_FAR = 1 << 28
"""Off by at least this much is what somebody who does not see the sequence numbers guesses."""


def run(data: bytes, target: Target) -> int:
    """Runs a script against a protocol; how many packets the engines got. Raises Violation."""
    choices = Choices(data)
    arena = Arena(target, choices.number())
    arena.kernels_may_misbehave = choices.below(4) == 1
    arena.open(PORTS[0], Behaviour())
    for _ in range(MAX_STEPS):
        if choices.exhausted:
            break
        choices.one_of(STEPS)(arena, choices)
        arena.check()
    arena.world.link.conditions = Conditions()
    del arena.world.link.filters[1:]
    arena.world.clock.run_for(1.0)
    arena.check()
    arena.finish()
    return arena.packets


def _pause(arena: Arena, choices: Choices) -> None:
    kind = choices.number()
    arena.world.clock.run_for(_LONG_PAUSES[kind % 5] if kind >= 250 else _PAUSES[kind % 8])


def _open(arena: Arena, choices: Choices) -> None:
    bits = choices.number()
    arena.open(
        PORTS[bits % 3],
        Behaviour(timestamps=not bits & 4, sack=not bits & 8, ecn=bool(bits & 16), mss=536 if bits & 32 else 1460),
    )
    arena.world.clock.run_for(_PAUSES[bits >> 6 & 3] * 2)


def _stream(arena: Arena, choices: Choices) -> Stream | None:
    live = [stream for stream in arena.streams.values() if stream.socket.state is not State.CLOSED]
    return choices.one_of(live) if live else None


def _write(arena: Arena, choices: Choices) -> None:
    stream = _stream(arena, choices)
    if stream is not None and stream.written < 200_000 and not stream.socket._finish:
        stream.write(choices.one_of(_SIZES))
    arena.world.clock.run_for(choices.one_of(_PAUSES[:4]))


def _use(arena: Arena, choices: Choices) -> None:
    """What applications and kernels do besides writing."""
    stream = _stream(arena, choices)
    action = choices.below(8)
    if stream is None:
        return
    socket = stream.socket
    if action <= 1:
        socket.shut_down()
    elif action == 2:
        socket.abort()
    elif action <= 4 and socket.state is State.OPEN:
        socket.keep_alive()
    elif action <= 6:
        socket.reading = False
    else:
        socket.resume_reading()


def _replay(arena: Arena, choices: Choices) -> None:
    crossing = _remembered(arena, choices)
    if crossing is not None:
        arena.peer_of(crossing.sender).receive(crossing.packet)


def _remembered(arena: Arena, choices: Choices) -> Crossing | None:
    arena.on_path = True
    return arena.pool[-1 - choices.below(len(arena.pool))] if arena.pool else None


def _forge(arena: Arena, choices: Choices) -> None:
    """Somebody who sees all sends what is nearly right, as either host."""
    crossing = _remembered(arena, choices)
    for _ in range(1 + choices.below(_BURST)):
        if crossing is not None and not choices.exhausted:
            arena.deliver(arena.peer_of(crossing.sender), mutated(choices, crossing.packet, arena.target))


def _reflect(arena: Arena, choices: Choices) -> None:
    """A host gets its own segment, as if the other had sent it."""
    crossing = _remembered(arena, choices)
    if crossing is None:
        return
    segment = crossing.segment
    flow = segment.addresses + crossing.packet[segment.offset : segment.offset + 4]
    packet = make(
        reverse_key(flow),
        sequence=segment.sequence,
        acknowledgment=segment.acknowledgment,
        flags=segment.flags,
        window=segment.window,
        option_area=segment.option_area,
        payload=segment.payload,
    )
    arena.hosts[crossing.sender == "server"].receive(packet)


def _guess(arena: Arena, choices: Choices) -> None:
    """Somebody who sees nothing, but knows addresses and ports, guesses: nothing changes."""
    host = choices.one_of(arena.hosts)
    live = list(host.stack.sockets.values())
    if not live or arena.lawless:
        return
    socket = choices.one_of(live)
    flow = reverse_key(socket.key)
    for _ in range(1 + choices.below(_BURST)):
        flags = choices.number()
        if flags & SYN and socket.state is not State.OPEN:
            # Documented: needs no sequence number, and breaks plain TCP as well.
            flags &= ~SYN
        packet = make(
            flow,
            sequence=_far_from(add(socket._remote_isn, socket._expected), choices),
            acknowledgment=_far_from(add(socket.isn, socket._highest), choices),
            flags=flags,
            window=choices.number(2),
            option_area=option_area(choices, b"", arena.target) if choices.below(2) else b"",
            payload=MARK * choices.below(8),
        )
        before = snapshot(host, socket.key)
        host.receive(packet)
        after = snapshot(host, socket.key)
        changes = [(old, after.get(name)) for name, old in before.items() if old != after.get(name)]
        require(not changes, f"a guess changed {host.name}: {flags:#x} {packet.hex()}\n{changes}")


def _far_from(number: int, choices: Choices) -> int:
    return add(number, _FAR + choices.number(4) % ((1 << 32) - 2 * _FAR))


def _misbehave(arena: Arena, choices: Choices) -> None:
    """The local side sends what no kernel sends."""
    crossing = arena.pool[-1 - choices.below(len(arena.pool))] if arena.pool else None
    if crossing is None:
        return
    if not arena.kernels_may_misbehave:
        _forge(arena, choices)
        return
    arena.on_path = True
    host = arena.hosts[crossing.sender == "server"]
    arena.lawless = True
    for stream in arena.streams.values():
        stream.hostile = True
    if host.engine is None:
        return
    for _ in range(1 + choices.below(_BURST)):
        packet = mutated(choices, crossing.packet, arena.target)
        if packet and not has_right_header(packet):
            # No firewall sees it.
            continue
        diverted_as = choices.one_of((ConnectionClass.UNDECIDED, ConnectionClass.ENCRYPTED))
        direction = choices.one_of((Direction.OUT, Direction.OUT, Direction.OUT, Direction.IN))
        host.engine.handle_packet(packet, direction, arena.world.clock.now, diverted_as)
        host.collect()


def _flood(arena: Arena, choices: Choices) -> None:
    """SYNs, and what may follow them, from addresses that do not exist."""
    host = choices.one_of(arena.hosts)
    if host.engine is None:
        return
    address = host.stack.address
    local = bytes(map(int, address.split(".")))
    for _ in range(1 + choices.below(_BURST)):
        flow = b"\x0b\0\0" + choices.take(1).ljust(1, b"\0") + local + b"\x10\0" + PORT.to_bytes(2, "big")
        flags = choices.one_of((SYN, SYN, SYN, ACK, ACK | SYN, RST))
        number = choices.number(2)
        area = pad(choices.one_of(arena.target.openings if flags == SYN else arena.target.options))
        packet = make(flow, sequence=number, acknowledgment=number, flags=flags, window=9, option_area=area)
        host.engine.handle_packet(packet, Direction.IN, arena.world.clock.now)
        if choices.below(2):
            answer = make(
                reverse_key(flow), sequence=7, acknowledgment=add(number, 1), flags=SYN | ACK, window=9, option_area=b""
            )
            host.engine.handle_packet(answer, Direction.OUT, arena.world.clock.now)
        host.collect()


def _weather(arena: Arena, choices: Choices) -> None:
    """The path becomes worse, or good again."""
    kind = choices.below(8)
    link = arena.world.link
    del link.filters[1:]
    link.conditions = Conditions()
    if kind == 1:
        link.filters.append(drop(sent_by("client")))
    elif kind == 2:
        link.filters.append(drop(sent_by("server")))
    elif kind >= 3:
        loss, duplication, reordering, corruption = (choices.below(64) / 128 for _ in range(4))
        link.conditions = Conditions(loss, duplication, reordering, corruption / 4)


def _ask(arena: Arena, choices: Choices) -> None:
    """A client of the control socket."""
    host = choices.one_of(arena.hosts)
    ends = arena.ends(host, choices.one_of(PORTS))
    before = host.engine.counters().get("internal_errors", 0) if host.engine is not None else 0
    arena.control[host.name].send(choices, ends, arena.world.clock.now)
    require(host.engine is None or host.engine.counters().get("internal_errors", 0) == before, "an internal error")
    host.collect()


def _replace_keys(arena: Arena, choices: Choices) -> None:
    host = choices.one_of(arena.hosts)
    if host.engine is not None:
        host.engine.rekey(*arena.ends(host, choices.one_of(PORTS)))
        host.collect()


def _garbage(arena: Arena, choices: Choices) -> None:
    host = choices.one_of(arena.hosts)
    if host.engine is not None:
        data = choices.take(choices.below(120))
        host.engine.handle_packet(data, choices.one_of(tuple(Direction)), arena.world.clock.now)
        host.collect()


def _restart(arena: Arena, choices: Choices) -> None:
    if choices.below(4) == 0:
        arena.on_path = True
        host: Host = choices.one_of(arena.hosts)
        arena.restart(host)


STEPS: tuple[Callable[[Arena, Choices], None], ...] = (
    _pause,
    _pause,
    _open,
    _write,
    _write,
    _use,
    _replay,
    _forge,
    _forge,
    _forge,
    _reflect,
    _guess,
    _guess,
    _misbehave,
    _flood,
    _weather,
    _ask,
    _replace_keys,
    _garbage,
    _restart,
)
"""A step is more likely the more often it stands here."""
