"""An encrypted connection: its two directions, its rekeying, and the segments that count without a MAC."""

from collections.abc import Callable
from typing import Final

from tcpcryptd.core.protocol import (
    DROP,
    Action,
    ConnectionClass,
    ConnectionHandle,
    Description,
    Direction,
    Injection,
    ProtocolState,
    Quoted,
    Verdict,
    joined,
    modify,
)
from tcpcryptd.crypt.constants import Opcode
from tcpcryptd.crypt.limits import OLD_KEYS_LIFETIME, REKEY_INTERVAL
from tcpcryptd.crypt.option import Suboption, find, read
from tcpcryptd.crypt.protection.flow import Flow
from tcpcryptd.crypt.protection.key_change import KeyChange
from tcpcryptd.crypt.protection.numbers import Numbers
from tcpcryptd.crypt.protection.opener import Opener, Successor, find_mac
from tcpcryptd.crypt.protection.sealer import Sealer
from tcpcryptd.crypt.protection.selective import shifted_sack
from tcpcryptd.crypt.protection.session import Keys, Session
from tcpcryptd.crypt.syn import for_local_kernel
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, RST, SYN, Segment, lengths, locate, make, reverse_key
from tcpcryptd.wire.sequence import add, extend
from tcpcryptd.wire.syn import refusal

_NOPS: Final = b"\x01\x01"
_MAX_BLOCKS: Final = 3
"""Of selective acknowledgments, beside timestamps (RFC 2018, section 3)."""
_HANDSHAKE: Final = (Opcode.INIT1, Opcode.INIT2)


class Protection(ProtocolState):
    """Seals and opens the segments of one connection.

    Its directions refer to each other: keys go with the next collection. It depends on no packet of the daemon's own:
    data goes in the kernel's packets, or see Engine.handle_cut_off.
    """

    def __init__(
        self,
        connection: ConnectionHandle,
        session: Session,
        numbers: Numbers,
        max_segment: int,
        connection_class: ConnectionClass,
        *,
        peer_aware: bool,
    ) -> None:
        """`max_segment`: bytes of TCP segment that the links of both hosts carry."""
        self._connection = connection
        self._session = session
        self._peer_aware = peer_aware
        self._numbers = numbers
        self.flow = flow = Flow(connection, numbers, session.keys, connection_class)
        self._keys = session.keys
        """The newest generation that either direction uses."""
        self._successor: Keys | None = None
        """What follows it, once it was needed."""
        self._sealer = Sealer(flow, session.keys, max_segment, self.rekey, self._answered)
        self._opener = Opener(flow, session.keys, self._unusual, self._sealer.announced)
        self._change: KeyChange | None = None
        if session.suite.quiet_rekeying:
            self._change = KeyChange(flow, self._sealer, self._opener, session.suite.rekey_bytes, self._next_keys)
            self._sealer.change = self._opener.change = self._change
        self._opener.wear = self._wear
        self._opener.upcoming = self._upcoming
        self._opener.follow = self._follow
        self._syn: Segment | None = None
        self.outbound = self._sealer.outbound
        self.inbound = self._opener.inbound
        self.answer: Callable[[], bytes] | None = None
        """Makes the packet that a repeated handshake message of the peer's is answered with."""
        self.log_keys: Callable[[Keys], None] | None = None
        """Takes each new generation of keys."""

    @property
    def heard(self) -> bool:
        """Whether an authentic segment has come in."""
        return self._opener.heard

    @property
    def has_spoken(self) -> bool:
        """Whether the local kernel has sent or acknowledged data."""
        numbers, sealer = self._numbers, self._sealer
        seen = add(sealer.last_acknowledgment, numbers.received_shift)
        return self.flow.send_next > numbers.send_next or seen != numbers.receive_next

    def take_over(self, now: float) -> None:
        """From now on every segment of the connection passes here."""
        self._connection.transition(self, self.outbound, self.inbound)
        if self.flow.send_generation == 0:
            self._connection.set_timer(now + REKEY_INTERVAL, self._rekey_in_time)

    def send(self, packet: bytes, now: float) -> None:
        """Seals a packet that the local kernel sent in the handshake, or would have, and injects it."""
        latest, seen = self._sealer.last_acknowledgment, self._connection.last_seen
        sealed = joined(self.outbound(packet, locate(packet)[0], now)[1])
        # What is answered may be forged, and nothing of the kernel's has passed.
        self._sealer.last_acknowledgment, self._connection.last_seen = latest, seen
        for length in lengths(sealed):
            self._connection.inject(Direction.OUT, sealed[:length])
            sealed = sealed[length:]

    def describe(self) -> Description:
        """For the control socket."""
        session, flow = self._session, self.flow
        return Description(
            session.session_id,
            session.role.value,
            session.suite_name,
            session.resumed,
            self._peer_aware,
            flow.send_next - flow.numbers.send_next - self._sealer.finished,
            flow.receive_next - flow.numbers.receive_next - self._opener.finished,
            session.public_key,
            session.public_key_spec,
            session.suite.spec,
            self.flow.send_generation,
            session.post_quantum,
            session.classical,
        )

    def resets(self) -> list[Injection]:
        """An RST with each sequence number that the other end may expect next, since only an exact one is obeyed."""
        sent_next = add(self.flow.send_next, -self._numbers.sent_shift)
        received_next = add(self.flow.receive_next, -self._numbers.received_shift)
        ours = {sent_next, add(self.flow.acknowledged, -self._numbers.sent_shift)}
        key = self._connection.key
        injections: list[Injection] = []
        for number in ours:
            reset = make(key, sequence=number, acknowledgment=received_next, flags=RST | ACK, window=0)
            _, sealed, _ = self.outbound(reset, locate(reset)[0], self._connection.last_seen)
            if sealed is not None:
                injections.append((Direction.OUT, joined(sealed)))
        for number in {received_next, self._sealer.last_acknowledgment}:
            reset = make(reverse_key(key), sequence=number, acknowledgment=sent_next, flags=RST | ACK, window=0)
            injections.append((Direction.IN, reset))
        return injections

    def rest(self) -> None:
        """See ProtocolState."""
        self._keys.outgoing.rest()
        self._keys.incoming.rest()

    def rekey(self) -> None:
        """Begins a new generation of keys, unless the last change of keys is not over (docs/crypt-option.md section 9).

        It is over when both sides know the keys and all that came before them is acknowledged, since no segment is sent
        again with other keys than the current ones and those before them.
        """
        flow = self.flow
        if flow.announcing or flow.send_generation != flow.receive_generation or flow.acknowledged < flow.send_started:
            return
        if self._change is not None:
            self._change.begin(self._connection.last_seen, quiet=True)
        else:
            self._sealer.begin_generation(self._next_keys(), announce=True)

    def _next_keys(self) -> Keys:
        self._use(self._successor or self._keys.next())
        self.answer = None
        self._connection.count("rekeyed")
        return self._keys

    def _upcoming(self) -> Keys | None:
        """What a peer that announces nothing may begin with; None while it has not followed the last change."""
        if self.flow.send_generation != self.flow.receive_generation:
            return None
        if self._successor is None:
            self._successor = self._keys.next()
        return self._successor

    def _follow(self, keys: Keys, started: int) -> None:
        """The peer uses these keys from the extended number `started` on."""
        self._use(keys)
        self.answer = None
        self._opener.begin_generation(keys, started)
        if self._change is not None:
            self._change.end()
        if self.flow.send_generation != keys.generation:
            self._sealer.begin_generation(keys, announce=self._change is None)
        elif self._change is not None:
            self._sealer.forget_previous_keys()
        self._connection.set_timer(self._connection.last_seen + OLD_KEYS_LIFETIME, self._forget_previous_keys)

    def _wear(self) -> bool:
        """The peer, which never replaces its keys by itself, has used them for long; whether the connection is lost."""
        flow = self.flow
        if self._change is None:
            return False
        if flow.receive_next > self._change.spent_at:
            self._connection.count("keys_not_replaced")
            self._connection.reset()
            return True
        if flow.send_generation == flow.receive_generation:
            self._change.wear(self._connection.last_seen)
        return False

    def _use(self, keys: Keys) -> None:
        if self.log_keys is not None and keys is not self._keys:
            self.log_keys(keys)
        if keys is not self._keys:
            self._successor = None
        # Nothing keeps the keys before them, from which all later ones follow.
        self._keys = self._session.keys = keys

    def translated(self, direction: Direction, error: Quoted) -> tuple[int, int | None] | None:
        """Shifts the number (docs/crypt-option.md section 3)."""
        if direction is Direction.OUT:
            return add(error.sequence, self._numbers.received_shift), error.mtu
        number = add(error.sequence, self._numbers.sent_shift if error.is_unsealed else 0)
        if not self.flow.acknowledged <= extend(number, self.flow.send_next) <= self.flow.send_next:
            return None
        mtu = None if error.mtu is None else self._sealer.narrow(error.mtu, error.is_own)
        return add(number, -self._numbers.sent_shift), mtu

    def _rekey_in_time(self, now: float) -> None:
        self.rekey()
        self._connection.set_timer(now + REKEY_INTERVAL, self._rekey_in_time)

    def _unusual(self, segment: Segment, now: float) -> Verdict:
        tag, covered = find_mac(segment)
        suboptions = read(segment)
        if tag is None or find(suboptions, *_HANDSHAKE) is not None:
            # The original seals the INIT2 that it sends again, in the place of the first data.
            return self._unauthenticated(segment, now)
        rekey = find(suboptions, Opcode.REKEY)
        if rekey is None or rekey.body[0] != self.flow.receive_generation + 1 & 0xFF:
            area = self._area_for_kernel(segment)
            return self._opener.opened(segment.packet, segment.offset, tag, covered, now, None, area)
        return self._rekeyed(segment, rekey, tag, covered, now)

    def _area_for_kernel(self, segment: Segment) -> bytes | None:
        """The options of a segment with selective acknowledgments; None: as they are."""
        sack = shifted_sack(segment.option(options.SACK), -self._numbers.sent_shift, _MAX_BLOCKS)
        if not sack:
            return None
        timestamp = segment.option(options.TIMESTAMP)
        area = b"" if timestamp is None or len(timestamp) != 8 else options.encode(options.TIMESTAMP, timestamp)
        return (_NOPS + area if area else b"") + _NOPS + sack

    def _rekeyed(self, segment: Segment, rekey: Suboption, tag: bytes, covered: bytes, now: float) -> Verdict:
        """The peer announces new keys. Nothing changes before the segment is found authentic."""
        generation, start = rekey.body[0], int.from_bytes(rekey.body[1:], "big")
        keys = self._keys if self._keys.generation == generation else self._successor or self._keys.next()
        started = extend(start, self.flow.receive_next)
        successor = Successor(keys.incoming.open, started)
        # Who hears of new keys does not wait for a moment to change them.
        changing, self._opener.changing = self._opener.changing, False
        verdict = self._opener.opened(segment.packet, segment.offset, tag, covered, now, successor)
        if verdict[0] is Action.DROP:
            self._opener.changing = changing
        else:
            self._follow(keys, started)
        return verdict

    def _forget_previous_keys(self, now: float) -> None:
        self._opener.forget_previous_keys()
        self._sealer.forget_previous_keys()
        self._connection.set_timer(now + REKEY_INTERVAL, self._rekey_in_time)

    def _unauthenticated(self, segment: Segment, now: float) -> Verdict:
        """The few segments that count without a MAC (docs/crypt-option.md section 6)."""
        if not segment.checksum_is_right:
            self._connection.count("bad_checksum")
            return DROP
        if segment.is_opening:
            return self._deliver_syn(segment)
        if segment.flags & (RST | SYN) == RST and not self._connection.options.secure_reset:
            # What the kernel acknowledged last is what it obeys; the highest number may lie behind a hole.
            if segment.sequence == add(self._sealer.last_acknowledgment, self._numbers.received_shift):
                self._connection.saw_closing(segment.flags, Direction.IN, now)
            return self._unshifted(segment)
        repeated = segment.flags & (SYN | ACK) == SYN | ACK or find(read(segment), *_HANDSHAKE)
        if not repeated:
            self._connection.report_integrity_failure()
        elif self.answer is not None:
            self.send(self.answer(), now)
        return DROP

    def _deliver_syn(self, syn: Segment) -> Verdict:
        """Whoever sent it, this connection lives until the kernel has opened a new one.

        Until then the kernel answers with a challenge ACK (RFC 5961, section 4), which is sealed.
        """
        if refusal(syn) is None:
            self._syn = syn
            return modify(for_local_kernel(syn), ConnectionClass.ENCRYPTED)
        return DROP

    def _answered(self, syn_ack: Segment, now: float) -> Verdict:
        if self._syn is None or not syn_ack.answers(self._syn):
            return DROP
        return self._connection.reopen(self._syn, syn_ack, now)

    def _unshifted(self, segment: Segment) -> Verdict:
        packet = segment.edited(
            sequence=add(segment.sequence, -self._numbers.received_shift),
            acknowledgment=add(segment.acknowledgment, -self._numbers.sent_shift),
            payload=b"",
        )
        return modify(packet, ConnectionClass.ENCRYPTED)
