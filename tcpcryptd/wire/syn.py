"""What a SYN says about its sender, and when its connection is left alone."""

import struct
from dataclasses import dataclass
from typing import Final

from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, CWR, ECE, RST, SYN, Segment, make, reverse_key, timestamps
from tcpcryptd.wire.sequence import add, difference

MAX_PACKET: Final = 65_531
"""Bytes of IP packet that the kernel's message to a queue can hold."""
MAX_MSS: Final = MAX_PACKET - 40 - 20
"""For the peer's kernel, of one segment in an IPv6 packet."""
LOCAL_MAX_MSS: Final = 32_704
"""For the local kernel, whose packets have two segments or more however large these are (tcp_min_tso_segs in Linux).

Two with headers, all options and what a frame adds are no more than MAX_PACKET.
"""

_DEFAULT_MSS: Final = 536
_TIMESTAMP_LENGTH: Final = 12
_MAX_WINDOW_SCALE: Final = 14
_MSS: Final = struct.Struct(">H")
_SIGNED: Final = frozenset((options.MD5_SIGNATURE, options.TCP_AO, options.MPTCP))


@dataclass(slots=True)
class SynParameters:
    """One end of a connection, as its SYN described it; its latest timestamp is kept up to date."""

    isn: int = 0
    window: int = 0
    """As in the SYN, not scaled."""
    mss: int = _DEFAULT_MSS
    window_scale: int | None = None
    timestamp: int | None = None
    data: int = 0
    """Bytes that the SYN had, which are cut off wherever it carries an option of ours."""

    @classmethod
    def of(cls, syn: Segment, max_mss: int = MAX_PACKET) -> "SynParameters":
        """Reads a SYN or SYN ACK; `max_mss`: what there is room for."""
        mss, scale = syn.option(options.MSS), syn.option(options.WINDOW_SCALE)
        sent = timestamps(syn.options)
        return cls(
            syn.sequence,
            syn.window,
            min(_MSS.unpack(mss)[0] if mss is not None and len(mss) == 2 else _DEFAULT_MSS, max_mss),
            min(scale[0], _MAX_WINDOW_SCALE) if scale is not None and len(scale) == 1 else None,
            sent[0] if sent else None,
            syn.payload_length,
        )

    def is_answered(self, following: Segment) -> bool:
        """Whether a segment of this end shows that its SYN was answered: nobody else knows the number."""
        flags = following.flags & (SYN | ACK | RST)
        return flags == ACK and following.sequence == add(self.isn, 1) and following.checksum_is_right

    def is_acknowledged_too_far(self, answer: Segment) -> bool:
        """Whether a SYN ACK acknowledges data of this end's SYN that never left; the kernel would believe it."""
        return 0 < difference(answer.acknowledgment, add(self.isn, 1)) <= self.data


def refusal(syn: Segment) -> str | None:
    """Why a connection with this SYN is left alone; None: it is not."""
    if any(kind in _SIGNED for kind, _ in syn.options):
        return "the connection uses MD5 signatures, TCP-AO or MPTCP"
    if not syn.options and any(syn.option_area):
        try:
            options.parse(syn.option_area)
        except options.OptionError:
            return "the SYN's options are malformed"
    return None


def classic_ecn(syn: Segment) -> int:
    """The flags of a peer's SYN or SYN ACK for a kernel that is not to use AccECN, besides reserved bits of 0.

    AccECN counts packets and bytes as the wire has them, which no kernel behind us sees. A SYN that offers it offers
    classic ECN then, and a SYN ACK that accepts it answers with no ECN, for which a peer in that mode is prepared
    (RFC 9768 sections 3.1 and 3.2.2.4).
    """
    accepts = syn.flags & (ACK | CWR) == ACK | CWR
    return syn.flags & ~(ECE | CWR) if accepts else syn.flags


def lowered_mss(syn: Segment, max_mss: int, reduction: int) -> bytes | None:
    """The MSS option's value for the local kernel that leaves room for `reduction` bytes in each segment.

    None: there is no such option.
    """
    mss = syn.option(options.MSS)
    if mss is None or len(mss) != 2:
        return None
    return _MSS.pack(max(min(_MSS.unpack(mss)[0], max_mss, LOCAL_MAX_MSS) - reduction, 1))


def clamped_mss(syn: Segment) -> bytes | None:
    """The MSS option's value for the peer's kernel; None: it can stay as it is, or there is none."""
    mss = syn.option(options.MSS)
    if mss is None or len(mss) != 2 or _MSS.unpack(mss)[0] <= MAX_MSS:
        return None
    return _MSS.pack(MAX_MSS)


class Ends:
    """Both ends of a connection in its handshake, before either kernel has sent data."""

    def __init__(self, key: bytes) -> None:
        """`key`: the flow key of what the local host sends."""
        self.key = key
        self.local = SynParameters()
        self.remote = SynParameters()

    def saw(self, segment: Segment, *, outbound: bool) -> None:
        """Keeps the timestamp that a segment carries."""
        end = self.local if outbound else self.remote
        sent = timestamps(segment.options)
        if sent is not None and end.timestamp is not None:
            end.timestamp = sent[0]

    def option_length(self, option: bytes) -> int:
        """Bytes of options of an `acknowledgment` with this one."""
        return (_TIMESTAMP_LENGTH if self._has_timestamps else 0) + len(options.pad(option))

    @property
    def _has_timestamps(self) -> bool:
        return self.local.timestamp is not None and self.remote.timestamp is not None

    def acknowledgment(
        self,
        *,
        outbound: bool,
        sent: int = 0,
        shift: int = 0,
        flags: int = ACK,
        option: bytes = b"",
        payload: bytes = b"",
    ) -> bytes:
        """The ACK that one end would send after the SYNs, with an option and a payload of our own.

        `sent` is added to the sequence number, `shift` to the acknowledgment number.
        """
        sender, receiver = (self.local, self.remote) if outbound else (self.remote, self.local)
        area = b""
        if self._has_timestamps:
            stamp = struct.pack(">II", sender.timestamp, receiver.timestamp)
            area = b"\x01\x01" + options.encode(options.TIMESTAMP, stamp)
        scale = sender.window_scale if receiver.window_scale is not None else None
        return make(
            self.key if outbound else reverse_key(self.key),
            sequence=add(sender.isn, 1 + sent),
            acknowledgment=add(receiver.isn, 1 + shift),
            flags=flags,
            window=sender.window >> (scale or 0) or 1,
            option_area=options.pad(area + option),
            payload=payload,
        )

    def resets(self, sent: int = 0) -> tuple[bytes, bytes]:
        """RST segments for the peer's kernel, which may have seen `sent` bytes of ours, and for the local one."""
        ours, theirs = add(self.local.isn, 1), add(self.remote.isn, 1)
        outbound = make(self.key, sequence=add(ours, sent), acknowledgment=theirs, flags=RST | ACK, window=0)
        inbound = make(reverse_key(self.key), sequence=theirs, acknowledgment=ours, flags=RST | ACK, window=0)
        return outbound, inbound
