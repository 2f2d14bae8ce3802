"""The key exchange: Init1 from host A, Init2 from host B (RFC 8548 sections 3.3 and 4.1)."""

from dataclasses import replace
from typing import Final

from tcpcryptd.core.handshake import KeysDue
from tcpcryptd.core.protocol import ACCEPT, DROP, Action, ConnectionClass, Direction, Injection, Quoted, Verdict, modify
from tcpcryptd.crypto import tcpcrypt_schedule as schedule
from tcpcryptd.crypto.key_scheme import InvalidPublicKey
from tcpcryptd.eno.constants import NON_SYN
from tcpcryptd.eno.handshake.context import HandshakeContext
from tcpcryptd.eno.handshake.identification import identify, judge, with_proof
from tcpcryptd.eno.handshake.init_messages import MAX_INIT_LENGTH, Init1, Init2, InitMessageError
from tcpcryptd.eno.handshake.negotiation import Negotiated
from tcpcryptd.eno.handshake.opened import open_channel
from tcpcryptd.eno.handshake.session import SessionSecret
from tcpcryptd.eno.handshake.state import State
from tcpcryptd.eno.limits import INIT1_PATIENCE, Limits
from tcpcryptd.eno.role import EnoRole
from tcpcryptd.eno.stream.channel import Channel
from tcpcryptd.eno.stream.init_transmission import InitTransmission
from tcpcryptd.eno.stream.reassembly import Reassembly
from tcpcryptd.eno.syn import for_local_kernel
from tcpcryptd.identity.identification import token_of
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, FIN, PSH, RST, SYN, Segment
from tcpcryptd.wire.sequence import MASK, add, extend

_LIMITS: Final = Limits(reach=MAX_INIT_LENGTH, ranges=16, segments=256)


class _Exchange(State):
    """ENO has succeeded: nothing passes in clear any more (RFC 8547 section 4.6)."""

    def __init__(self, context: HandshakeContext, negotiated: Negotiated) -> None:
        super().__init__(context)
        self._negotiated = negotiated
        self._scheme = context.scheme(negotiated.code)
        self._stream = Reassembly(0, _LIMITS)
        """The peer's, from its first byte."""
        self._connection.connection_class = ConnectionClass.ENCRYPTED

    def _collect(self, segment: Segment) -> bytes:
        """Adds a segment to the peer's stream; what of it is there without a hole."""
        wire = extend((segment.sequence - self._ends.remote.isn - 1) & MASK, self._stream.next)
        if segment.payload_length and wire >= 0:
            self._stream.add(wire, segment.payload)
        return bytes(self._stream.head()) if self._stream.contiguous else b""

    def _is_cut_short(self, segment: Segment) -> bool:
        """The peer's FIN has come, and all that is before it: no frame with FINp can (RFC 8548 section 3.7)."""
        end = extend((segment.sequence + segment.payload_length - self._ends.remote.isn - 1) & MASK, self._stream.next)
        return segment.flags & FIN != 0 and end == self._stream.next + self._stream.contiguous

    def _acknowledge_part(self, sent: int) -> None:
        """What has come of a message is acknowledged, whose rest the peer may wait with; `sent`: bytes of ours."""
        if self._stream.contiguous > self._stream.pinned:
            self._stream.pin()
            packet = self._ends.acknowledgment(outbound=True, sent=sent, shift=self._stream.pinned)
            self._connection.inject(Direction.OUT, packet)

    def unpayloaded(self, segment: Segment, window: int) -> Verdict:
        """The segment as the local kernel may see it: an ACK of its SYN."""
        packet = segment.edited(
            sequence=add(self._ends.remote.isn, 1),
            acknowledgment=add(self._ends.local.isn, 1),
            flags=segment.flags & ~(FIN | PSH),
            window=window,
            payload=b"",
        )
        return modify(packet, self._connection.connection_class)


class InitSent(_Exchange):
    """Host A: sends Init1 with the kernel's ACK of the SYN ACK, and waits for Init2."""

    def __init__(self, context: HandshakeContext, negotiated: Negotiated) -> None:
        super().__init__(context, negotiated)
        self._key = context.key_pair(self._scheme)
        ciphers = tuple(each.identifier for each in context.aeads(EnoRole.A))
        nonce = self._connection.random(schedule.NONCE_LENGTH)
        self._init1 = Init1(ciphers, nonce, self._key.public)
        self._message = with_proof(context, negotiated, lambda items: replace(self._init1, extensions=items).encode())
        # Each segment has the option, since any may be the first that comes (RFC 8547 section 4.6).
        self._sending: InitTransmission | None = InitTransmission(
            self._connection, self._ends, self._message, self._give_up, option=NON_SYN
        )
        self._is_sent = False

    def take_over(self) -> None:
        """Binds the handlers."""
        self._connection.transition(self, self._outbound, self._inbound)

    def forget(self) -> None:
        """What repeats Init1 refers to this object, which has the private key."""
        self._sending = None

    def resets(self) -> list[Injection]:
        """The peer may have taken Init1 or not."""
        taken, _ = self._ends.resets(len(self._message))
        return [(Direction.OUT, taken), *super().resets()]

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        bare = self.first_ack(segment, now)
        if isinstance(bare, tuple):
            return bare
        room = len(options.pad(bare.option_area + NON_SYN))
        part = self._sending.first(room) if self._sending is not None and not self._is_sent else b""
        carried = with_option(bare, part, push=len(part) == len(self._message))
        if carried is None:
            return self.abort("no_space_for_eno")
        if part:
            self._send(len(part), now)
        return modify(carried, self._connection.connection_class)

    def undeliverable(self, now: float) -> bool:
        """Init1, by itself or once more. Nothing may pass in clear any more."""
        self.abort("init1_undeliverable")
        return True

    def begin(self, now: float) -> None:
        """Sends Init1 at once, for a kernel that need not acknowledge the SYN ACK of a simultaneous open."""
        self._send(0, now)

    def _send(self, start: int, now: float) -> None:
        """Sends Init1 from a byte of it on, and all of it again in time."""
        if self._sending is not None:
            self._is_sent = True
            self._sending.send(start)
            self._sending.start(now)

    def translated(self, direction: Direction, error: Quoted) -> tuple[int, int | None] | None:
        """A segment of Init1 was too large for a link."""
        if direction is Direction.IN and self._is_sent and self._sending is not None:
            self._sending.was_too_large(error.sequence, error.mtu)
        return None

    def _inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        if not segment.checksum_is_right:
            return DROP
        if segment.flags & RST:
            return ACCEPT
        if self._sending is None or not self._is_sent or not segment.flags & ACK:
            return DROP
        if segment.flags & SYN:
            self._sending.repeat()
            return DROP
        acknowledged = (segment.acknowledgment - self._ends.local.isn - 1) & MASK
        if acknowledged > len(self._message):
            return DROP
        self._sending.acknowledged = max(self._sending.acknowledged, acknowledged)
        stream = self._collect(segment)
        try:
            read = Init2.read(stream, self._scheme.answer_length, extensible=self._scheme.is_extensible)
            if read is not None and (len(stream) > len(read[1]) or not self._is_cut_short(segment)):
                return self._receive(*read, segment, now)
        except (InitMessageError, InvalidPublicKey):
            return self.abort("bad_init2")
        if self._is_cut_short(segment):
            return self.abort("truncated")
        self._acknowledge_part(len(self._message))
        return DROP

    def _receive(self, init2: Init2, message: bytes, segment: Segment, now: float) -> Verdict:
        aeads = self._context.aeads(EnoRole.A)
        aead = next((each for each in aeads if each.identifier == init2.cipher), None)
        if aead is None or not init2.answers(self._init1):
            return self.abort("bad_init2")
        if not identify(self._context, self._negotiated, init2.extensions, message, self._message):
            return DROP
        secret = schedule.prk(
            self._init1.nonce, self._negotiated.transcript, self._message, message, self._key.exchange(init2.public)
        )
        self._context.saw(segment, Direction.IN, now)
        self._connection.cancel_timer()
        self.forget()
        channel = open_channel(
            self._context,
            SessionSecret(secret, self._scheme, aead, EnoRole.A, token_of(self._connection)),
            self._negotiated,
            now,
            sent=len(self._message),
            received=len(message),
        )
        channel.received_init2(now)
        if self._context.held is not None:
            channel.send(self._context.held, now)
        following = self._following(segment, len(message))
        verdict = channel.inbound(following, segment.offset, now) if following is not None else DROP
        # The window of Init2's segment opens the kernel's.
        return self.unpayloaded(segment, segment.window) if verdict[0] is Action.DROP else verdict

    def _following(self, segment: Segment, length: int) -> bytes | None:
        """What has come behind Init2 of `length` bytes, which need not end at a segment's boundary; None: nothing."""
        stream = bytes(self._stream.head())
        if len(stream) == length:
            return None
        number = add(self._ends.remote.isn, 1 + length)
        is_last = segment.end == add(number, len(stream) - length + bool(segment.flags & FIN))
        flags = segment.flags if is_last else segment.flags & ~FIN
        return segment.edited(sequence=number, flags=flags, payload=stream[length:])

    def _give_up(self, now: float) -> None:
        self.abort("init1_unanswered")


class AwaitInit1(_Exchange):
    """Host B: the kernel's window stays closed until Init1 has come and Init2 has gone out."""

    def __init__(self, context: HandshakeContext, negotiated: Negotiated, *, heard: bool) -> None:
        """`heard`: a segment without SYN has come from the peer; before, ours carry the option (RFC 8547 4.6)."""
        super().__init__(context, negotiated)
        self._heard = heard

    def take_over(self, now: float) -> None:
        """Binds the handlers."""
        self._connection.transition(self, self._outbound, self.inbound)
        self._connection.set_timer(now + INIT1_PATIENCE, self._give_up)

    def _outbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        segment = Segment(packet, offset)
        bare = self.answers_other_syn(segment, now) or self.first_ack(segment, now)
        if isinstance(bare, tuple):
            return bare
        carried = bare.packet if self._heard else with_option(bare)
        if carried is None:
            return self.abort("no_space_for_eno")
        return modify(carried, self._connection.connection_class)

    def inbound(self, packet: bytes, offset: int, now: float) -> Verdict:
        """A segment of the peer's, the one that brought the ENO option first."""
        segment = Segment(packet, offset)
        if not segment.checksum_is_right:
            return DROP
        if segment.flags & RST:
            return ACCEPT
        if segment.is_opening:
            return self.repeated_syn(segment)
        if segment.acknowledgment != add(self._ends.local.isn, 1):
            return DROP
        if segment.flags & SYN:
            if self._heard or segment.sequence != self._ends.remote.isn:
                return DROP
            # The peer of a simultaneous open lacks our SYN ACK: the kernel's answer tells it the same.
            return modify(for_local_kernel(segment, self._ends.local.mss), self._connection.connection_class)
        self._heard = True
        self._context.saw(segment, Direction.IN, now)
        try:
            stream, scheme = self._collect(segment), self._scheme
            read = Init1.read(stream, scheme.public_length, extensible=scheme.is_extensible)
            if read is not None and not self._is_cut_short(segment):
                return self._answer(*read, segment, now)
        except (InitMessageError, InvalidPublicKey):
            return self.abort("bad_init1")
        if self._is_cut_short(segment):
            return self.abort("truncated")
        self._acknowledge_part(0)
        return self.unpayloaded(segment, 0)

    def _answer(self, init1: Init1, message: bytes, segment: Segment, now: float) -> Verdict:
        aeads = self._context.aeads(EnoRole.B)
        cipher = init1.select([each.identifier for each in aeads])
        aead = next((each for each in aeads if each.identifier == cipher), None)
        if aead is None:
            return self.abort("no_common_cipher")
        judge_a = judge(self._context, self._negotiated, init1.extensions, message)
        if judge_a is None:
            return DROP
        public, shared = self._scheme.answer(init1.public)
        answer = Init2(aead.identifier, self._connection.random(schedule.NONCE_LENGTH), public)
        init2 = with_proof(
            self._context, self._negotiated, lambda items: replace(answer, extensions=items).encode(), message
        )
        sending = InitTransmission(self._connection, self._ends, init2, self._unanswered, received=len(message))
        sending.send()
        self._connection.connection_class = ConnectionClass.STREAM

        def make_keys() -> Channel:
            secret = schedule.prk(init1.nonce, self._negotiated.transcript, message, init2, shared)
            return open_channel(
                self._context,
                SessionSecret(secret, self._scheme, aead, EnoRole.B, token_of(self._connection)),
                self._negotiated,
                now,
                sent=len(init2),
                received=len(message),
                init2=sending,
            )

        KeysDue(self._connection, make_keys, judge_a).take_over(now)
        return self.unpayloaded(segment, segment.window)

    def _unanswered(self, now: float) -> None:
        self.abort("init2_unanswered")

    def _give_up(self, now: float) -> None:
        self.abort("init1_missing")


def with_option(segment: Segment, payload: bytes = b"", *, push: bool = False) -> bytes | None:
    """A local ACK with an ENO option, and with a payload, which is the last of a message; None: there is no space."""
    area = options.pad(segment.option_area + NON_SYN)
    if len(area) > options.MAX_LENGTH:
        return None
    return segment.edited(option_area=area, flags=segment.flags | (PSH if push else 0), payload=payload)
