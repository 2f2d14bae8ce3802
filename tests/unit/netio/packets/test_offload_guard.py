"""What tracking is told of connections that no flowtable may take (linux/netfilter/nfnetlink_conntrack.h)."""

import errno
import logging

import pytest

from tcpcryptd.netio.kernel import netlink
from tcpcryptd.netio.packets.offload_guard import OffloadGuard
from tcpcryptd.wire.segment import ACK, SYN, make

KEY = bytes((10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0, 81))
KEY6 = bytes(31) + b"\x01" + bytes(4)
TUPLE = b"the original tuple, as it came!!"
SYN_SENT, SYN_RECEIVED, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT = range(1, 8)
SEEN_REPLY, ASSURED, CONFIRMED = 2, 4, 8
OPEN = SEEN_REPLY | ASSURED | CONFIRMED


def tracked(state: int, status: int = OPEN, flags: int = 0, zone: bytes = b"") -> bytes:
    tcp = (
        netlink.attribute(1, bytes((state,))) + netlink.attribute(4, bytes((flags, 0))) + netlink.attribute(5, bytes(2))
    )
    return b"".join(
        (
            netlink.attribute(0x8001, TUPLE),
            netlink.attribute(0x8002, b"the reply's"),
            netlink.attribute(18, zone) if zone else b"",
            netlink.attribute(3, status.to_bytes(4, "big")),
            netlink.attribute(7, bytes(4)),
            netlink.attribute(0x8004, netlink.attribute(0x8001, tcp)),
        )
    )


def packet(flags: int = ACK, key: bytes = KEY) -> bytes:
    return make(key, sequence=1, acknowledgment=2, flags=flags, window=3, payload=b"")


class Kernel:
    """Records the changes; `error` is what it answers with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.changes: list[tuple[int, dict[int, bytes]]] = []
        self.error = 0
        monkeypatch.setattr(netlink, "transact", self._transact)

    def _transact(self, protocol: int, request: bytes) -> list[bytes]:
        ((kind, _, body),) = netlink.messages(request)
        assert (protocol, kind) == (12, 0x100)
        self.changes.append((body[0], netlink.attributes(body[4:])))
        if self.error:
            raise OSError(self.error, "refused")
        return []

    def states(self) -> list[int]:
        return [_tcp(attributes)[1][0] for _, attributes in self.changes]


def _tcp(attributes: dict[int, bytes]) -> dict[int, bytes]:
    return netlink.attributes(netlink.attributes(attributes[4])[1])


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.mark.parametrize(("key", "family"), [(KEY, 2), (KEY6, 10)])
def test_the_answer_to_a_syn_is_held_before_it_goes_on(kernel: Kernel, key: bytes, family: int) -> None:
    guard = OffloadGuard()
    data = tracked(SYN_RECEIVED, SEEN_REPLY | CONFIRMED, zone=b"\0\x07")
    assert guard.admit(data, packet(SYN | ACK, key), is_plain=False)
    ((got_family, attributes),) = kernel.changes
    assert got_family == family
    assert attributes[1] == TUPLE
    assert attributes[18] == b"\0\x07"
    assert 3 not in attributes
    assert _tcp(attributes) == {1: bytes((CLOSE_WAIT,))}
    assert guard.counters() == {"offload_held": 1, "offload_errors": 0}


def test_one_that_is_open_is_held_whenever_it_is_met(kernel: Kernel) -> None:
    assert OffloadGuard().admit(tracked(ESTABLISHED), packet(), is_plain=False)
    assert kernel.states() == [CLOSE_WAIT]


def test_the_third_packet_assures_it(kernel: Kernel) -> None:
    guard, data = OffloadGuard(), tracked(CLOSE_WAIT, SEEN_REPLY | CONFIRMED)
    assert guard.admit(data, packet(SYN | ACK), is_plain=False)
    assert kernel.changes == []
    assert guard.admit(data, packet(), is_plain=False)
    ((_, attributes),) = kernel.changes
    assert attributes[3] == OPEN.to_bytes(4, "big")
    assert _tcp(attributes) == {1: bytes((CLOSE_WAIT,))}


@pytest.mark.parametrize("state", [SYN_SENT, FIN_WAIT, CLOSE_WAIT, TIME_WAIT])
def test_nothing_is_changed_in_other_states(kernel: Kernel, state: int) -> None:
    assert OffloadGuard().admit(tracked(state), packet(), is_plain=False)
    assert kernel.changes == []


@pytest.mark.parametrize("is_plain", [False, True])
def test_the_first_fin_is_what_it_would_have_been(kernel: Kernel, is_plain: bool) -> None:
    guard = OffloadGuard()
    assert guard.admit(tracked(LAST_ACK), packet(), is_plain)
    ((_, attributes),) = kernel.changes
    assert _tcp(attributes) == {1: bytes((FIN_WAIT,)), 4: b"\x04\x04"}
    assert guard.admit(tracked(LAST_ACK, flags=4), packet(), is_plain)
    assert len(kernel.changes) == 1


def test_a_plain_one_may_be_taken_again(kernel: Kernel) -> None:
    guard = OffloadGuard()
    for state, flags in ((SYN_RECEIVED, 0), (ESTABLISHED, 0), (CLOSE_WAIT, 4)):
        assert guard.admit(tracked(state, flags=flags), packet(), is_plain=True)
    assert kernel.changes == []
    assert guard.admit(tracked(CLOSE_WAIT), packet(), is_plain=True)
    assert kernel.states() == [ESTABLISHED]


def test_no_connection_or_a_new_one(kernel: Kernel) -> None:
    guard = OffloadGuard()
    for data in (b"", b"\x08", netlink.attribute(3, b"\0"), tracked(ESTABLISHED, SEEN_REPLY), tracked(3)[:-8]):
        assert guard.admit(data, packet(), is_plain=False)
    assert kernel.changes == []


def test_what_cannot_be_held_goes_nowhere(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    guard, kernel.error = OffloadGuard(), errno.EPERM
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert not guard.admit(tracked(ESTABLISHED), packet(), is_plain=False)
    assert guard.counters() == {"offload_held": 0, "offload_errors": 3}
    assert len(caplog.records) == 1


def test_one_that_is_deleted_meanwhile(kernel: Kernel) -> None:
    guard, kernel.error = OffloadGuard(), errno.ENOENT
    assert guard.admit(tracked(ESTABLISHED), packet(), is_plain=False)
    assert guard.counters() == {"offload_held": 0, "offload_errors": 0}
