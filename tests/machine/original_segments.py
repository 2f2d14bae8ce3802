"""The segments of the original daemon's connections that have keys: MAC, change of keys, what counts without a MAC."""

from tcpcryptd.core.verdict import Direction
from tcpcryptd.crypto import key_schedule
from tcpcryptd.crypto.ctr_hmac import CtrHmacProtection
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, RST, SYN, Segment
from tcpcryptd.wire.sequence import add
from tests.machine.original_state import (
    INIT2,
    MAC,
    MTU,
    REKEY,
    UNAUTHENTICATED,
    Connection,
    Keys,
    State,
    find,
    need,
    reply,
    view,
)


class Segments:
    """Seals and opens; `inject` takes what it makes itself."""

    def __init__(self) -> None:
        self.sealed: list[tuple[bytes, int, int]] = []
        """Of each payload that it sealed: the connection's master key, sequence number, length."""

    def _inject(self, packet: bytes, now: float) -> None:
        raise NotImplementedError

    @staticmethod
    def _keys(c: Connection) -> Keys:
        keys = key_schedule.traffic_keys(c.master)
        client = CtrHmacProtection(keys.client_encryption, keys.client_mac)
        server = CtrHmacProtection(keys.server_encryption, keys.server_mac)
        return Keys(client, server) if c.is_client else Keys(server, client)

    def _finish_rekeying(self, c: Connection) -> bool:
        need(c.receiving in (c.generation, c.generation - 1 & 0xFF))
        need(c.sending in (c.generation, c.generation - 1 & 0xFF))
        if c.receiving != c.generation or c.sending != c.generation:
            return False
        need(c.next is not None)
        c.current, c.next, c.state = c.next, None, State.ENCRYPTING
        return True

    # Segments with a MAC.

    def _seal(self, c: Connection, segment: Segment) -> bytes | None:
        if segment.flags == SYN | ACK:
            return None
        need(not segment.flags & SYN)
        if c.sent_shift:
            sequence, acknowledgment = (
                add(segment.sequence, c.sent_shift),
                add(segment.acknowledgment, c.received_shift),
            )
            segment = view(segment.edited(sequence=sequence, acknowledgment=acknowledgment))
        # Not modulo 2^32.
        if c.state is State.REKEY_RECEIVED and segment.acknowledgment >= c.rekey_number:
            c.receiving = c.receiving + 1 & 0xFF
            need(c.receiving == c.generation)
            if not self._finish_rekeying(c):
                c.state, c.rekey_number = State.REKEY_ACKNOWLEDGED, segment.sequence
        assert c.current is not None
        area = options.pad(segment.option_area + bytes((MAC, 22)) + bytes(20))
        need(len(area) <= options.MAX_LENGTH)
        if len(segment.packet) + len(area) - len(segment.option_area) > MTU:
            return None
        if segment.payload:
            self.sealed.append((c.master, segment.sequence, segment.payload_length))
        blank = view(segment.edited(option_area=area))
        header, acknowledgment_part, covered = self._authenticated(c, blank, Direction.OUT)
        ciphertext, tag = c.current.send.seal(segment.sequence, header, acknowledgment_part, covered, segment.payload)
        at = len(segment.option_area) + 2
        return blank.edited(option_area=area[:at] + tag + area[at + 20 :], payload=ciphertext)

    def _open(self, c: Connection, segment: Segment, now: float) -> bytes | None:
        active, rekey = self._active(c, segment)
        tag = segment.option(MAC)
        payload: bytes | None = segment.payload
        if tag is not None:
            header, acknowledgment, covered = self._authenticated(c, segment, Direction.IN)
            payload = active.receive.open(segment.sequence, header, acknowledgment, covered, segment.payload, tag)
        elif not segment.flags & RST:
            if segment.flags == SYN | ACK:
                return segment.packet
            if find(segment, INIT2) is not None:
                self._inject(self._acknowledgment(c, segment), now)
            return None
        if payload is None:
            return None
        if c.session is not None:
            c.session.used, c.session = False, None
        self._after_rekeying(c, segment, rekey)
        if not c.sent_shift:
            return segment.edited(payload=payload)
        sequence, acknowledged = add(segment.sequence, -c.received_shift), add(segment.acknowledgment, -c.sent_shift)
        return segment.edited(sequence=sequence, acknowledgment=acknowledged, payload=payload)

    def _active(self, c: Connection, segment: Segment) -> tuple[Keys, bytes | None]:
        """The keys that open a segment, and the REKEY that it obeys."""
        active = c.current
        if c.sending != c.receiving and c.receiving == c.generation:
            active = c.next
        rekey = find(segment, REKEY)
        if rekey is not None:
            if rekey[0] == c.generation + 1 & 0xFF:
                need(c.next is None)
                c.generation = c.generation + 1 & 0xFF
                c.master = key_schedule.next_master_key(c.master)
                c.next = self._keys(c)
                c.state, c.rekey_number = State.REKEY_RECEIVED, int.from_bytes(rekey[1:], "big")
            need(rekey[0] == c.generation)
            if c.state is State.ENCRYPTING:
                rekey = None
            else:
                active = c.next
        assert active is not None
        return active, rekey

    @staticmethod
    def _acknowledgment(c: Connection, segment: Segment) -> bytes:
        """Of a handshake message, before it is shifted."""
        answer = reply(segment)
        sequence, acknowledgment = add(answer.sequence, -c.sent_shift), add(answer.acknowledgment, -c.received_shift)
        return answer.edited(sequence=sequence, acknowledgment=acknowledgment)

    def _after_rekeying(self, c: Connection, segment: Segment, rekey: bytes | None) -> None:
        if c.state is State.REKEY_ACKNOWLEDGED and segment.acknowledgment >= c.rekey_number:
            c.sending = c.sending + 1 & 0xFF
            need(c.sending == c.generation)
            if self._finish_rekeying(c):
                return
            c.state = State.ENCRYPTING
        if rekey is not None:
            # Also when it has acknowledged that number already: its next segment then finds a contradiction.
            c.state, c.rekey_number = State.REKEY_RECEIVED, int.from_bytes(rekey[1:], "big")

    @staticmethod
    def _authenticated(c: Connection, segment: Segment, direction: Direction) -> tuple[bytes, bytes, bytes]:
        area = segment.option_area
        covered = b""
        if c.quiet_areas.get(direction) != len(area):
            covered = b"".join(
                options.encode(kind, value) for kind, value in segment.options if kind not in UNAUTHENTICATED
            )
            if not covered:
                c.quiet_areas[direction] = len(area)
        length = len(segment.packet) - segment.offset
        header = b"\x80\0" + length.to_bytes(2, "big") + bytes((5 + len(area) // 4, segment.flags))
        header += segment.urgent.to_bytes(2, "big") + segment.sequence.to_bytes(8, "big")
        return header, segment.acknowledgment.to_bytes(8, "big"), covered
