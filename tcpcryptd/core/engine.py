"""The facade: a packet, its direction and the time in, a verdict out. Nothing that a packet holds makes it raise."""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.connection import Connection, Opening
from tcpcryptd.core.event import ConnectionInfo, Endpoint, Event, InternalError
from tcpcryptd.core.orphan import Orphan
from tcpcryptd.core.protocol import Injection, ProtocolFactory
from tcpcryptd.core.services import Services
from tcpcryptd.core.verdict import ACCEPT, ACCEPT_PLAIN, DROP, ConnectionClass, Direction, Verdict
from tcpcryptd.wire.segment import Fragment, MalformedPacket, Segment, locate, reverse_key

_IPV4 = struct.Struct(">HxxHxB")
_IPV6 = struct.Struct(">HB")
_PLAIN_IPV4_HEADER = 0x45
"""Version 4, five words: no IP options."""
_TCP = 6
_FRAGMENT = 0x3FFF


class Engine:
    """All connections of one host, or of one worker's share of it."""

    def __init__(
        self,
        config: EngineConfig,
        protocols: Sequence[ProtocolFactory],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._config = config
        self._protocols = {protocol.name: protocol for protocol in protocols}
        self._services = Services(config, random, self._first_packet)
        self._reported: set[str] = set()

    def handle_packet(
        self,
        packet: bytes,
        direction: Direction,
        now: float,
        diverted_as: ConnectionClass = ConnectionClass.UNDECIDED,
    ) -> Verdict:
        """The verdict on a diverted packet.

        `packet` starts with the IP header; `now` is in seconds and never goes back; `diverted_as` is the class under
        which the firewall diverted it. An exception is a bug: it is counted, and the packet is dropped when the
        connection is encrypted and accepted when it is not.
        """
        connection = None
        try:
            offset, key = _locate(packet)
            table = self._services.table
            connection = (table.outbound if direction == Direction.OUT else table.inbound).get(key)
            if connection is None:
                return self._first_packet(Segment(packet, offset), direction, now, diverted_as)
            if direction == Direction.OUT:
                return connection.outbound(packet, offset, now)
            return connection.inbound(packet, offset, now)
        except Fragment:
            self._services.counters["fragments"] += 1
            return DROP
        except MalformedPacket:
            self._services.counters["malformed"] += 1
        except Exception as error:
            self._report(error)
        encrypted = diverted_as is ConnectionClass.ENCRYPTED or (
            connection is not None and connection.connection_class is ConnectionClass.ENCRYPTED
        )
        return DROP if encrypted else ACCEPT

    def _first_packet(
        self, segment: Segment, direction: Direction, now: float, diverted_as: ConnectionClass
    ) -> Verdict:
        flow = segment.addresses + segment.packet[segment.offset : segment.offset + 4]
        key = flow if direction is Direction.OUT else reverse_key(flow)
        if segment.is_opening:
            return self._open(key, segment, direction, now)
        if diverted_as is ConnectionClass.ENCRYPTED:
            connection = Connection(self._services, key, Opening(False, now), "none")
            if not self._services.table.add(connection):
                return DROP
            return Orphan(connection).take_over(segment, direction, now)
        if direction is Direction.IN and any(protocol.recognizes(segment) for protocol in self._protocols.values()):
            self._services.counters["stray"] += 1
            return DROP
        return ACCEPT_PLAIN

    def _open(self, key: bytes, syn: Segment, direction: Direction, now: float) -> Verdict:
        active = direction is Direction.OUT
        for protocol in self._protocols.values():
            if active and protocol.name != self._config.offer:
                continue
            connection = Connection(self._services, key, Opening(active, now), protocol.name)
            if not self._services.table.add(connection):
                self._services.counters["table_full"] += 1
                return connection.decide_plain("the table of connections is full")
            connection.watch_idleness(now)
            verdict = protocol.offer(connection, syn, now) if active else protocol.answer(connection, syn, now)
            if verdict is not None:
                return verdict
            connection.close()
        connection = Connection(self._services, key, Opening(active, now), "none")
        return connection.decide_plain("nothing is offered" if active else "the peer does not speak tcpcrypt")

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is due, on the clock of `now`; None: not before the next packet."""
        return self._services.timers.next_timeout()

    def handle_timeout(self, now: float) -> None:
        """Runs what is due: retransmissions, and the end of what has been idle too long."""
        self._services.timers.run(now, self._report)

    def packets_to_inject(self) -> list[Injection]:
        """Packets of the daemon's own that wait to be sent; they are handed over once."""
        waiting = list(self._services.injections)
        self._services.injections.clear()
        return waiting

    def next_event(self) -> Event | None:
        """The oldest event that was not collected yet."""
        return self._services.events.popleft() if self._services.events else None

    def connections(self) -> Iterator[ConnectionInfo]:
        """All connections in the flow table, then the plain ones that are still remembered."""
        yield from (connection.info() for connection in self._services.table)
        yield from self._services.table.plain_records()

    def connection(self, local: Endpoint, remote: Endpoint) -> ConnectionInfo | None:
        """What is known of one connection; raises ValueError for what is not an IP address."""
        addresses = ip_address(local.address).packed + ip_address(remote.address).packed
        return self._services.table.find(addresses + struct.pack(">HH", local.port, remote.port))

    def counters(self) -> dict[str, int]:
        """Counts since the start, and how many connections there are now."""
        table = self._services.table
        return dict(self._services.counters) | {"connections": len(table), "encrypted": table.count_encrypted()}

    def shut_down(self, now: float) -> None:
        """Resets all connections that cannot go on without the daemon; the resets wait in `packets_to_inject`."""
        for connection in self._services.table:
            try:
                connection.reset()
            except Exception as error:
                self._report(error)

    def _report(self, error: Exception) -> None:
        self._services.counters["internal_errors"] += 1
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
        if place not in self._reported:
            self._reported.add(place)
            # The message may quote what it failed on, a secret for all we know.
            self._services.emit(InternalError(f"{type(error).__name__} at {place}"))


def _locate(packet: bytes) -> tuple[int, bytes]:
    """`locate`, with a short cut for headers without options."""
    if len(packet) >= 40 and packet[0] == _PLAIN_IPV4_HEADER:
        length, fragment, protocol = _IPV4.unpack_from(packet, 2)
        if length == len(packet) and protocol == _TCP and not fragment & _FRAGMENT:
            return 20, packet[12:24]
    elif len(packet) >= 60 and packet[0] >> 4 == 6:
        length, protocol = _IPV6.unpack_from(packet, 4)
        if length + 40 == len(packet) and protocol == _TCP:
            return 40, packet[8:44]
    return locate(packet)
