"""Two hosts with engines, an attacker between them, and the checks after every step."""

from collections import deque
from itertools import count

from fuzz.control import ControlClient
from fuzz.oracle import BOUNDS, Violation, check_engine, check_packet, check_stream, check_verdict, require
from fuzz.stream import MARK, Stream
from fuzz.target import Target
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.lifecycle import Phase
from tcpcryptd.core.verdict import ConnectionClass, Direction, WholeVerdict
from tcpcryptd.wire.segment import reverse_key
from tests.machine.endpoint import Behaviour, State
from tests.machine.host import Host
from tests.machine.link import Crossing
from tests.machine.world import PORT, World

PORTS = (40_000, 40_001, 40_002)
"""Of the client; few, so that addresses and ports come again."""
POOL = 48
"""Packets that the attacker remembers."""
_IP_HEADER = 20
MAX_CROSSINGS = 4_000
"""Packets on the wire in one script. Two kernels whose numbers differ send ACKs for ever: then the path is cut."""
LIVENESS = 200.0
"""Virtual seconds in which an unharmed connection must carry data once the path is good."""


class Arena:
    """The state of one script."""

    def __init__(self, target: Target, variant: int) -> None:
        self.target = target
        self._variant = variant % target.variants
        self._serial = count(1)
        self.packets = 0
        """Packets that the engines were given."""
        self.on_path = False
        """The attacker has used what only somebody on the path knows."""
        self.kernels_may_misbehave = False
        """Little can be promised when they do, so most scripts do without."""
        self.lawless = False
        """A kernel has done what no kernel does."""
        self.world = World(client=self._engine("client"), server=self._engine("server"))
        self.hosts = (self.world.client, self.world.server)
        self._crossings = 0
        self.pool: deque[Crossing] = deque(maxlen=POOL)
        self.streams: dict[int, Stream] = {}
        self._by_socket: dict[int, Stream] = {}
        self.world.link.filters.append(self._watch)
        self.control = {host.name: ControlClient(lambda host=host: host.engine) for host in self.hosts}  # type: ignore[misc]

    def _engine(self, name: str) -> Engine:
        engine = self.target.engine((name, next(self._serial)), self._variant, BOUNDS)
        handle, collect = engine.handle_packet, engine.packets_to_inject

        def handle_packet(
            packet: bytes,
            direction: Direction,
            now: float,
            diverted_as: ConnectionClass = ConnectionClass.UNDECIDED,
            route: int = 0,
        ) -> WholeVerdict:
            self.packets += 1
            verdict = handle(packet, direction, now, diverted_as, route)
            check_verdict(packet, verdict)
            return verdict

        def packets_to_inject() -> list[tuple[Direction, bytes, int]]:
            injections = collect()
            for _, packet, _ in injections:
                check_packet(packet)
            return injections

        engine.handle_packet = handle_packet  # type: ignore[method-assign]
        engine.packets_to_inject = packets_to_inject  # type: ignore[method-assign]
        return engine

    def restart(self, host: Host) -> None:
        """The daemon is killed and started again: the keys are gone."""
        for stream in self.streams.values():
            stream.orphaned |= stream.host == host.name
        host.kill_engine()
        host.start_engine(self._engine(host.name))

    def open(self, port: int, behaviour: Behaviour) -> None:
        """The client connects; a connection that it has with these ports is forgotten by its kernel."""
        for socket in list(self.world.client.stack.sockets.values()):
            if socket.key[-4:-2] == port.to_bytes(2, "big"):
                socket.state = State.CLOSED
                self.world.client.stack.forget(socket)
        self.world.server.stack.listen(PORT, behaviour)
        self.world.open(port=port, behaviour=behaviour)
        self.enroll()

    def deliver(self, host: Host, packet: bytes) -> None:
        """A packet from the wire; a host's network card passes on what has at least an IP header."""
        if len(packet) >= _IP_HEADER:
            host.receive(packet)

    def enroll(self) -> None:
        """Takes note of new sockets."""
        for host in self.hosts:
            for socket in host.stack.sockets.values():
                if id(socket) not in self._by_socket:
                    stream = Stream(host.name, socket, next(self._serial), hostile=self.lawless)
                    self.streams[stream.number] = self._by_socket[id(socket)] = stream
            # Nobody asks for it; it keeps every socket that there ever was.
            host.stack.accepted.clear()

    def peer_of(self, name: str) -> Host:
        """The other host."""
        return self.hosts[name == "client"]

    def _stream_at(self, host: Host, key: bytes) -> Stream | None:
        socket = host.stack.sockets.get(key)
        return self._by_socket.get(id(socket)) if socket is not None else None

    def _watch(self, crossing: Crossing) -> list[bytes]:
        """Every packet that a host sends: nothing of an encrypted connection may be readable."""
        self.enroll()
        self._crossings += 1
        if self._crossings > MAX_CROSSINGS:
            require(self.on_path, "a storm that nobody made")
            return []
        self.pool.append(crossing)
        host = self.hosts[crossing.sender == "server"]
        segment = crossing.segment
        key = segment.addresses + crossing.packet[segment.offset : segment.offset + 4]
        stream = self._stream_at(host, key)
        if stream is not None:
            # Not the tracker's mark, and not before it is open: those can be of an earlier one with the same ports.
            known = host.engine._table.outbound.get(key) if host.engine is not None else None
            encrypted = known is not None and known.connection_class.is_encrypted and known.phase is not Phase.CLOSED
            # What was reset may never have had keys: it counts as encrypted when it was so before.
            if encrypted and stream.socket.state is State.OPEN:
                stream.encrypted, stream.tracked = True, host.tracked.get(key)
            stream.hostile |= stream.orphaned and not _is_marked(stream, host)
            if stream.encrypted and not stream.hostile:
                require(MARK not in segment.payload, f"{stream} in clear: {crossing}")
        return [crossing.packet]

    def check(self) -> None:
        """Raises Violation when something does not hold."""
        self.enroll()
        self.world.link.log.clear()
        for host in self.hosts:
            if host.engine is not None:
                check_engine(host.engine, host)
            host.events.clear()
        for stream in self.streams.values():
            stream.hostile |= stream.orphaned and not _is_marked(stream, self.hosts[stream.host == "server"])
            check_stream(stream, self.streams)

    def ends(self, host: Host, port: int) -> tuple[Endpoint, Endpoint]:
        """A connection as a host names it."""
        client, server = Endpoint(self.world.client.address, port), Endpoint(self.world.server.address, PORT)
        return (client, server) if host is self.world.client else (server, client)

    def finish(self) -> None:
        """What nobody harmed still works."""
        if self.on_path:
            return
        pairs = [
            (stream, self._stream_at(self.world.server, reverse_key(stream.socket.key)))
            for stream in list(self.streams.values())
            if stream.host == "client" and stream.encrypted and stream.socket.state is State.OPEN
        ]
        for client, server in pairs:
            if server is None or not server.encrypted or server.socket.state is not State.OPEN:
                continue
            if client.hostile or server.hostile or client.socket._finish or server.socket._finish:
                continue
            self._must_carry(client, server)

    def _must_carry(self, client: Stream, server: Stream) -> None:
        for stream in (client, server):
            stream.socket.resume_reading()
            stream.write(200)
        done = self.world.clock.run_until(
            lambda: len(server.socket.received) == client.written and len(client.socket.received) == server.written,
            LIVENESS,
        )
        if not done:
            raise Violation(f"stalled: {client} wrote {client.written}, {server} got {len(server.socket.received)}")
        self.check()


def _is_marked(stream: Stream, host: Host) -> bool:
    """Without its daemon only the tracker's mark protects a connection, and a forged RST and SYN end its entry."""
    entry = host.tracked.get(stream.socket.key)
    return entry is not None and entry is stream.tracked and entry.mark.is_encrypted
