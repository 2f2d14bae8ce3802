"""Verdict messages, byte by byte against linux/netfilter/nfnetlink_queue.h."""

import socket
import struct
from collections.abc import Iterable
from typing import cast

import pytest

from tcpcryptd.core.verdict import Gathered
from tcpcryptd.netio.kernel import netlink
from tcpcryptd.netio.packets.verdicts import BATCH, BATCH_BYTES, NF_ACCEPT, NF_DROP, VerdictSender, for_tracking
from tcpcryptd.wire.syn import MAX_PACKET

VERDICT_HEADER, MARK, PAYLOAD = 2, 3, 10
QUEUE = 0x1234


class FakeSocket:
    def __init__(self, limit: int = 1 << 30) -> None:
        self.sent: list[bytes] = []
        self.limit = limit

    def setsockopt(self, *arguments: int) -> None:
        pass

    def sendmsg(self, pieces: Iterable[bytes]) -> int:
        return self.send(b"".join(pieces))

    def send(self, message: bytes) -> int:
        if len(message) > self.limit:
            raise OSError(90, "Message too long")
        self.sent.append(message)
        return len(message)


def sender(limit: int = 1 << 30) -> tuple[VerdictSender, FakeSocket]:
    fake = FakeSocket(limit)
    return VerdictSender(QUEUE, cast(socket.socket, fake)), fake


def decoded(data: bytes) -> list[tuple[int, int, dict[int, bytes]]]:
    """Verdict, packet ID and the attributes of each message."""
    found = []
    for kind, _, body in netlink.messages(data):
        assert kind == 3 << 8 | 1
        assert struct.unpack(">BBH", body[:4]) == (0, 0, QUEUE)
        attributes = netlink.attributes(body[4:])
        verdict, packet_id = attributes[VERDICT_HEADER][:4], attributes[VERDICT_HEADER][4:]
        found.append((*struct.unpack(">I", verdict), *struct.unpack("=I", packet_id), attributes))
    return found


def test_many_are_dropped_in_one_message() -> None:
    verdicts, fake = sender()
    verdicts.drop_up_to(0x01020304)
    verdicts.flush()
    (message,) = fake.sent
    ((kind, _, body),) = netlink.messages(message)
    assert kind == 3 << 8 | 3
    assert body[:4] == struct.pack(">BBH", 0, 0, QUEUE)
    header = netlink.attributes(body[4:])[VERDICT_HEADER]
    assert header == struct.pack(">I", NF_DROP) + struct.pack("=I", 0x01020304)


@pytest.mark.parametrize("size", [40, 41, 42, 43, 1500, 65_531])
@pytest.mark.parametrize("mark", [None, 0, 0x20000001])
def test_what_the_kernel_reads_is_what_was_said(size: int, mark: int | None) -> None:
    verdicts, fake = sender()
    verdicts.add(7, NF_ACCEPT, bytes(range(256)) * (size // 256) + b"x" * (size % 256), mark)
    verdicts.add(8, NF_DROP)
    verdicts.flush()
    (message,) = fake.sent
    (accepted, first, attributes), (dropped, second, nothing) = decoded(message)
    assert (accepted, first, dropped, second) == (NF_ACCEPT, 7, NF_DROP, 8)
    assert (MARK in attributes) == (mark is not None)
    if mark is not None:
        assert attributes[MARK] == struct.pack(">I", mark)
    assert set(nothing) == {VERDICT_HEADER}


def test_a_payload_arrives_whole() -> None:
    for size in range(40, 48):
        verdicts, fake = sender()
        payload = bytes(range(size))
        verdicts.add(1, NF_ACCEPT, payload)
        verdicts.flush()
        assert decoded(fake.sent[0])[0][2][PAYLOAD] == payload
        assert len(fake.sent[0]) % 4 == 0


def test_batches_are_bounded_in_number_and_bytes() -> None:
    verdicts, fake = sender()
    for number in range(BATCH + 1):
        verdicts.add(number, NF_ACCEPT)
    assert [len(decoded(message)) for message in fake.sent] == [BATCH]
    verdicts.flush()
    fake.sent.clear()
    for number in range(BATCH):
        verdicts.add(number, NF_ACCEPT, bytes(65_000))
    verdicts.flush()
    assert max(map(len, fake.sent)) < BATCH_BYTES + 66_000
    assert sum(len(decoded(message)) for message in fake.sent) == BATCH


def test_a_batch_that_is_refused_is_sent_one_by_one() -> None:
    verdicts, fake = sender(limit=200)
    verdicts.add(1, NF_ACCEPT, bytes(100))
    verdicts.add(2, NF_ACCEPT, bytes(1000))
    verdicts.add(3, NF_DROP)
    verdicts.add(4, NF_ACCEPT, bytes(60_001), 5)
    verdicts.add(5, NF_ACCEPT)
    verdicts.flush()
    assert [decoded(message)[0][1] for message in fake.sent] == [1, 3, 5]
    assert verdicts.errors == 2


def test_large_packets_go_to_the_kernel_as_they_are() -> None:
    class Gathering(FakeSocket):
        def sendmsg(self, pieces: Iterable[bytes]) -> int:
            self.pieces = list(pieces)
            return super().sendmsg(self.pieces)

    fake = Gathering()
    verdicts = VerdictSender(QUEUE, cast(socket.socket, fake))
    packets = [bytes(60_003), b"small", b"x" * 4097]
    gathered = Gathered(b"head", memoryview(bytearray(60_001)))
    for number, packet in enumerate(packets):
        verdicts.add(number, NF_ACCEPT, packet, 1)
    verdicts.add(len(packets), NF_ACCEPT, gathered, 1)
    verdicts.flush()
    as_they_are = [packets[0], packets[2], gathered.body]
    assert [each for each in fake.pieces if any(each is body for body in as_they_are)] == as_they_are
    assert [attributes[PAYLOAD] for _, _, attributes in decoded(fake.sent[0])] == [*packets, gathered.joined()]


def test_nothing_is_sent_when_nothing_waits() -> None:
    verdicts, fake = sender()
    verdicts.flush()
    assert fake.sent == []


def test_what_connection_tracking_is_told() -> None:
    verdicts, fake = sender()
    verdicts.add(7, NF_ACCEPT, b"packet", 5, for_tracking(0x20000000, 0x70000000))
    verdicts.flush()
    ((_, _, attributes),) = decoded(fake.sent[0])
    assert (attributes[MARK], attributes[PAYLOAD]) == (struct.pack(">I", 5), b"packet")
    # NFQA_CT with CTA_MARK and CTA_MARK_MASK.
    assert netlink.attributes(attributes[11]) == {8: b"\x20\0\0\0", 21: b"\x70\0\0\0"}


def test_a_packet_that_no_message_can_have_is_dropped() -> None:
    """The length of the attribute would wrap, and the kernel would let the packet pass as it came."""
    verdicts, fake = sender()
    for number, size in enumerate((MAX_PACKET, MAX_PACKET + 1)):
        verdicts.add(number, NF_ACCEPT, bytes(size))
    verdicts.flush()
    (accepted, _, attributes), (dropped, _, others) = decoded(b"".join(fake.sent))
    assert (accepted, len(attributes[PAYLOAD]), dropped, PAYLOAD in others) == (NF_ACCEPT, MAX_PACKET, NF_DROP, False)
    assert verdicts.errors == 1
