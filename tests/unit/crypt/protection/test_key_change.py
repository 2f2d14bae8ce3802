"""REKEY is on one segment and what is sent again of it, however it is cut then."""

import pytest

from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.crypt.constants import CRYPT, Opcode
from tcpcryptd.crypt.protection.key_change import Stage
from tcpcryptd.crypto.suites import AES128_CTR_SEQIV_HMAC_SHA1
from tcpcryptd.wire.segment import PSH, Segment, locate
from tests.unit.crypt.protection.test_pieces import Sender, whole_packet

FULL = 1388
BORDER = 10_000


def announced() -> Sender:
    """A connection whose next segment says REKEY: nothing is in flight."""
    sender = Sender(AES128_CTR_SEQIV_HMAC_SHA1, 4, ConnectionClass.STREAM)
    sender.send(whole_packet(4, BORDER))
    protection = sender.protection
    protection.flow.receive_next = 4200
    protection.flow.acknowledged = protection.flow.send_next
    protection.rekey()
    assert protection._change is not None
    assert protection._change.stage is Stage.DRAINING
    return sender


def views(packets: list[bytes]) -> list[Segment]:
    return [Segment(each, locate(each)[0]) for each in packets]


def says_rekey(segment: Segment) -> bool:
    value = segment.option(CRYPT)
    return value is not None and value[0] == Opcode.REKEY


def test_the_first_of_many_segments() -> None:
    sender = announced()
    first, *others = views(sender.send(whole_packet(4, 6000, at=BORDER)))
    assert says_rekey(first)
    assert first.flags & PSH
    assert first.option(CRYPT) == bytes((Opcode.REKEY, 1)) + first.sequence.to_bytes(4, "big")
    assert not any(map(says_rekey, others))
    assert sender.protection.describe().generation == 1


@pytest.mark.parametrize("size", [1, 700, FULL, 5000])
@pytest.mark.parametrize("back", [0, 1, 500, FULL, 3 * FULL])
def test_what_is_sent_again(size: int, back: int) -> None:
    """Only the piece at the start of the new keys, which is cut there if it is not so already."""
    sender = announced()
    (first,) = (each for each in views(sender.send(whole_packet(4, FULL, at=BORDER))) if says_rekey(each))
    pieces = views(sender.send(whole_packet(4, size, at=BORDER - back)))
    expected = [each.sequence == first.sequence for each in pieces]
    assert [says_rekey(each) for each in pieces] == expected
    assert any(expected) == (size > back)
    assert sum(each.payload_length for each in pieces) == size


def test_nothing_when_it_was_acknowledged() -> None:
    sender = announced()
    sender.send(whole_packet(4, FULL, at=BORDER))
    sender.protection.flow.acknowledged = sender.protection.flow.send_next
    assert not any(map(says_rekey, views(sender.send(whole_packet(4, FULL, at=BORDER)))))


@pytest.mark.parametrize("lacks", ["acknowledgment of ours", "acknowledgment of theirs"])
def test_not_while_something_is_in_flight(lacks: str) -> None:
    sender = announced()
    flow = sender.protection.flow
    if lacks == "acknowledgment of ours":
        flow.acknowledged -= 1
    else:
        flow.receive_next += 1
    assert not any(map(says_rekey, views(sender.send(whole_packet(4, FULL, at=BORDER)))))
    assert sender.protection.describe().generation == 0
