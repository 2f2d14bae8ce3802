"""Verdicts on packets for the local kernel: segments that continue each other and came together go up as one.

The kernel then handles one packet and sends one acknowledgment. The last segment's verdict carries all, the others are
dropped. Nothing waits for more than what is in the socket already.
"""

from collections.abc import Callable

from tcpcryptd.core.verdict import ConnectionClass, Gathered
from tcpcryptd.netio.kernel.nfqueue import DivertedPacket
from tcpcryptd.netio.packets.passage import Passage
from tcpcryptd.netio.packets.verdicts import NF_DROP, VerdictSender
from tcpcryptd.wire.run import Run, find_data, flow_of


class _Waiting:
    """A run, and the packet whose verdict will carry it."""

    def __init__(self, run: Run, packet: DivertedPacket, connection_class: ConnectionClass, mark: int) -> None:
        self.run = run
        self.packet = packet
        self.connection_class = connection_class
        self.mark = mark

    def goes_with(self, packet: DivertedPacket, connection_class: ConnectionClass, mark: int) -> bool:
        """Whether a packet is to be let through in the same way."""
        return mark == self.mark and packet.mark == self.packet.mark and connection_class is self.connection_class


class Merger:
    """Collects runs of segments, one for each flow, until `flush`."""

    def __init__(self, passage: Passage, verdicts: VerdictSender, holds: Callable[[], bool] = lambda: False) -> None:
        """`holds`: whether a packet of the queue waits for its verdict since before those that were added here."""
        self.merged = 0
        """Segments that have gone up in the packet of a later one."""
        self._passage = passage
        self._verdicts = verdicts
        self._holds = holds
        self._runs: dict[bytes, _Waiting] = {}
        self._dropped: list[int] = []
        self._latest = 0
        """The packet that came last of those that can be merged."""

    def add(
        self, packet: DivertedPacket, connection_class: ConnectionClass, mark: int, replacement: bytes | Gathered | None
    ) -> None:
        """Lets the packet through, perhaps with others; see `Passage.let`. `mark` has the bits of others alone."""
        if isinstance(replacement, Gathered):
            self._end_run(flow_of(replacement.head))
            self._passage.let(packet, connection_class, mark, replacement)
            return
        flow = b"" if replacement is None else flow_of(replacement)
        start = find_data(replacement) if replacement is not None and flow else 0
        if replacement is None or not start:
            self._end_run(flow)
            self._passage.let(packet, connection_class, mark, replacement)
            return
        self._latest = packet.identifier
        waiting = self._runs.get(flow)
        if (
            waiting is not None
            and waiting.goes_with(packet, connection_class, mark)
            and waiting.run.take(replacement, start)
        ):
            self.merged += 1
            self._dropped.append(waiting.packet.identifier)
            waiting.packet = packet
        else:
            if waiting is not None:
                self._let_through(waiting)
            waiting = self._runs[flow] = _Waiting(Run(replacement, start), packet, connection_class, mark)
        if waiting.run.is_pushed:
            del self._runs[flow]
            self._let_through(waiting)

    def _end_run(self, flow: bytes) -> None:
        """Before something else of the flow; of any, when it is not known which."""
        if not flow:
            self.flush()
        elif flow in self._runs:
            self._let_through(self._runs.pop(flow))

    def flush(self) -> None:
        """Lets through what there is."""
        while self._runs:
            self._let_through(self._runs.pop(next(iter(self._runs))))
        if self._dropped:
            dropped, self._dropped = self._dropped, []
            if self._holds():
                for identifier in dropped:
                    self._verdicts.add(identifier, NF_DROP)
            else:
                # All others that have come have their verdicts.
                self._verdicts.drop_up_to(self._latest)

    def _let_through(self, waiting: _Waiting) -> None:
        try:
            self._passage.let(waiting.packet, waiting.connection_class, waiting.mark, waiting.run.packet())
        except MemoryError:
            # The peer sends it again, in smaller pieces.
            self._verdicts.add(waiting.packet.identifier, NF_DROP)
