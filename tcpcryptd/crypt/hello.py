"""The SYNs: HELLO in one direction, PKCONF in the other (spec section 2)."""

from tcpcryptd.core.protocol import Description, Injection
from tcpcryptd.core.verdict import ACCEPT, DROP, Direction, Verdict, modify
from tcpcryptd.crypt import option
from tcpcryptd.crypt.client_exchange import ClientExchange
from tcpcryptd.crypt.constants import Opcode
from tcpcryptd.crypt.handshake import End, Handshake, for_local_kernel, without_sack
from tcpcryptd.crypt.limits import HELLO_TRIES
from tcpcryptd.crypt.server_exchange import AwaitInit1
from tcpcryptd.wire import options, sequence
from tcpcryptd.wire.segment import ACK, RST, SYN, Segment

_SIGNED = frozenset((options.MD5_SIGNATURE, options.TCP_AO, options.MPTCP))
_MAX_LOOPBACK_MSS = 65_491
"""A full packet then is no longer than what a queue carries (design notes, section 3)."""


def refusal(syn: Segment) -> str | None:
    """Why a connection with this SYN is left alone; None: it is not."""
    if any(kind in _SIGNED for kind, _ in syn.options):
        return "the connection uses MD5 signatures, TCP-AO or MPTCP"
    try:
        options.parse(syn.option_area)
    except options.OptionError:
        return "the SYN's options are malformed"
    return None


class HelloSent:
    """The local host opens a connection and its SYN offers encryption."""

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self._connection = handshake.connection
        self._tries = 0

    def offer(self, syn: Segment, now: float) -> Verdict:
        """The verdict on the first SYN."""
        reason = refusal(syn)
        if reason is None and option.append(without_sack(syn.option_area), option.HELLO) is None:
            reason = "the SYN has no space for the option"
        self._handshake.local = End.of(syn)
        self._connection.become(self, self._outbound, self._inbound)
        return self._connection.decide_plain(reason) if reason is not None else self._hello(syn)

    def describe(self) -> Description:
        """Nothing is known yet."""
        return Description()

    def resets(self) -> list[Injection]:
        """The local kernel has sent a SYN, and the peer may have received it."""
        return self._handshake.resets()

    def _hello(self, syn: Segment) -> Verdict:
        self._tries += 1
        if self._tries > HELLO_TRIES and not self._connection.must_encrypt:
            return ACCEPT
        area = option.append(without_sack(syn.option_area), option.HELLO)
        # Data in a SYN would leave in clear; the kernel sends it again when the SYN ACK does not acknowledge it.
        return modify(syn.edited(option_area=area, payload=b""))

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.is_opening:
            if segment.sequence != self._handshake.local.isn:
                return self._connection.renew(segment, Direction.OUT, now)
            self._handshake.saw(segment, Direction.OUT, now)
            return self._hello(segment)
        if segment.flags & SYN:
            return self._connection.decide_plain("both hosts opened the connection at once")
        return ACCEPT

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        handshake = self._handshake
        if segment.is_opening:
            return self._connection.decide_plain("both hosts opened the connection at once")
        if segment.flags & (SYN | ACK | RST) != SYN | ACK or not segment.checksum_is_right:
            return ACCEPT
        if segment.acknowledgment != sequence.add(handshake.local.isn, 1):
            return ACCEPT
        handshake.remote = End.of(segment)
        pkconf = option.find(option.read(segment), Opcode.PKCONF, Opcode.PKCONF_SUPPORT)
        if pkconf is None:
            return self._connection.decide_plain("the peer does not speak tcpcrypt")
        exchange = ClientExchange.choose(handshake, pkconf)
        if exchange is None:
            return self._connection.decide_plain("no common public-key algorithm")
        exchange.take_over(now)
        return modify(for_local_kernel(segment, min(handshake.local.mss, _MAX_LOOPBACK_MSS)))


class HelloReceived:
    """A peer opens a connection and its SYN offers encryption."""

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self._connection = handshake.connection

    def answer(self, syn: Segment, now: float) -> Verdict:
        """The verdict on the SYN."""
        self._handshake.remote = End.of(syn)
        reason = refusal(syn)
        if reason is not None:
            return self._connection.decide_plain(reason)
        self._connection.become(self, self._outbound, self._inbound)
        return self._deliver(syn)

    def describe(self) -> Description:
        """Nothing is known yet."""
        return Description()

    def resets(self) -> list[Injection]:
        """The kernel has not answered: nothing to reset."""
        return []

    def _deliver(self, syn: Segment) -> Verdict:
        return modify(for_local_kernel(syn, _MAX_LOOPBACK_MSS))

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.is_opening and segment.sequence == self._handshake.remote.isn:
            return self._deliver(segment)
        return ACCEPT if segment.flags & (SYN | RST) else DROP

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if segment.is_opening:
            return self._connection.renew(segment, Direction.OUT, now)
        if segment.flags & (SYN | ACK) != SYN | ACK:
            return ACCEPT
        self._handshake.local = End.of(segment)
        if option.append(without_sack(segment.option_area), self._pkconf) is None:
            return self._connection.decide_plain("the SYN ACK has no space for the option")
        exchange = AwaitInit1(self._handshake, self._pkconf)
        exchange.take_over()
        return exchange.outbound(packet, offset, now)

    @property
    def _pkconf(self) -> option.Suboption:
        return option.Suboption(Opcode.PKCONF, self._handshake.config.public_key_specs)
