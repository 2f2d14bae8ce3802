"""A queue that is bound to nothing, with fakes of what stands around it."""

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tcpcryptd.core.verdict import Action, ConnectionClass, Direction, Verdict
from tcpcryptd.netio.kernel import netlink
from tcpcryptd.netio.kernel.nfqueue import diverted_packet
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.packets import queue as queue_module
from tcpcryptd.netio.packets.merging import Merger
from tcpcryptd.netio.packets.queue import PacketQueue
from tcpcryptd.netio.packets.verdicts import NF_ACCEPT, NF_DROP, NF_REPEAT
from tcpcryptd.wire.segment import ACK, make

MARKS = MarkScheme()
KEY = bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81))
KEY6 = bytes(31) + b"\x01" + bytes(4)
OTHER_BITS = 0x80000005
ROUTE = 7 << 32 | OTHER_BITS


def packet_of(payload: bytes = b"", key: bytes = KEY) -> bytes:
    return make(key, sequence=1, acknowledgment=2, flags=ACK, window=3, payload=payload)


def interfaces(hook: int) -> list[tuple[int, int]]:
    """The attributes of a packet that comes by interface 5, or leaves by interface 7, or both."""
    return [(5, 5)] * (hook in (0, 1, 2)) + [(6, 7)] * (hook in (2, 3, 4))


def message(payload: bytes, hook: int, mark: int, identifier: int = 7) -> bytes:
    """What the kernel sends for a diverted packet (linux/netfilter/nfnetlink_queue.h)."""
    attributes = [
        netlink.attribute(1, struct.pack("=IHB", identifier, 0x0008, hook)),
        *(netlink.attribute(kind, struct.pack(">I", number)) for kind, number in interfaces(hook)),
        netlink.attribute(3, struct.pack(">I", mark)) if mark else b"",
        netlink.attribute(10, payload),
    ]
    return netlink.message(3 << 8, 0, 0, bytes(4) + b"".join(attributes))


@dataclass
class FakePacket:
    """A diverted packet, and what was decided on it."""

    payload: bytes
    hook: int = 3
    mark: int = OTHER_BITS
    given_mark: int | None = None
    given_payload: bytes | None = None
    verdict: str | None = None
    tracking: bytes = b""


class FakeQueue:
    """The library's queue, with a socket pair whose other end acknowledges."""

    def __init__(self) -> None:
        self.ours, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def get_fd(self) -> int:
        return self.ours.fileno()

    def unbind(self) -> None:
        self.ours.close()
        self.kernel.close()


class FakeVerdicts:
    """Gives the verdict to the packet at hand; `fails` once, after it was given."""

    errors = 0
    fails = False

    def __init__(self) -> None:
        self.packet: FakePacket
        self.flushed = 0
        self.on_flush: Callable[[], None] = lambda: None
        self.on_pass: Callable[[], None] = lambda: None

    def flush(self) -> None:
        self.flushed += 1
        self.on_flush()

    def pass_on(self, packet_id: int, queue_number: int) -> None:
        assert packet_id == 7
        self.packet.verdict = f"queue {queue_number}"
        self.on_pass()

    def add(
        self, packet_id: int, verdict: int, payload: bytes | None = None, mark: int | None = None, tracking: bytes = b""
    ) -> None:
        assert packet_id == 7
        if self.packet.verdict is None:
            self.packet.given_payload, self.packet.given_mark, self.packet.tracking = payload, mark, tracking
            self.packet.verdict = {NF_REPEAT: "pass", NF_ACCEPT: "next chain", NF_DROP: "drop"}[verdict]
        if self.fails:
            self.fails = False
            raise ValueError


class Rig:
    """A queue that is bound to nothing, and the engine's next verdict."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, diverted_as: ConnectionClass) -> None:
        self.verdict: Verdict = (Action.ACCEPT, None, diverted_as)
        self.error: Exception | None = None
        self.calls: list[tuple[bytes, Direction, ConnectionClass]] = []
        self.routes: list[int] = []
        self.library = FakeQueue()
        monkeypatch.setattr(queue_module, "_bind", lambda *_: self.library)
        monkeypatch.setattr(PacketQueue, "_configure", lambda *_: None)
        self.queue = PacketQueue(1, diverted_as, self._engine, MARKS)
        self.verdicts = FakeVerdicts()
        for holder in (self.queue, self.queue._passage):
            monkeypatch.setattr(holder, "_verdicts", self.verdicts)
        merger = Merger(self.queue._passage, self.verdicts)  # type: ignore[arg-type]
        monkeypatch.setattr(self.queue, "_merger", merger)

    def _engine(
        self, packet: bytes, direction: Direction, _now: float, diverted_as: ConnectionClass, route: int
    ) -> Verdict:
        self.routes.append(route)
        self.calls.append((packet, direction, diverted_as))
        if self.error is not None:
            raise self.error
        return self.verdict

    def handle(self, packet: FakePacket) -> FakePacket:
        self.verdicts.packet = packet
        data = message(packet.payload, packet.hook, packet.mark)
        diverted = diverted_packet(memoryview(data), len(data))
        assert diverted is not None
        self.queue._handle(diverted)
        return packet
