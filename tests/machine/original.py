"""A model of the original daemon, the peer that we cannot change: what it does on the wire, its faults included.

Written from its behaviour (docs/crypt-option.md section 15); only codecs and primitives are shared with the
package. It stands in the place of an engine at the border of a `Host`, and replays the original's recorded traces
(tests/unit/crypt/handshake/test_original_model.py).
"""

from collections import deque
from collections.abc import Iterator
from ipaddress import ip_address
from random import Random

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import Event, Negotiated
from tcpcryptd.core.verdict import ACCEPT, DROP, Action, ConnectionClass, Direction, Verdict, joined
from tcpcryptd.crypto import key_schedule
from tcpcryptd.crypto.key_agreement import KeyAgreementError
from tcpcryptd.crypto.rsa_oaep import RsaOaep, RsaPrivateKey
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import ACK, RST, SYN, Segment, locate, reverse_key
from tcpcryptd.wire.sequence import add
from tests.machine.original_segments import Segments
from tests.machine.original_state import (
    CHOSEN,
    CONNECTED,
    CRYPT,
    HELLO,
    HELLO_AWARE,
    INIT1,
    INIT2,
    NEXTK1,
    NEXTK1_AWARE,
    NEXTK2,
    NEXTK2_AWARE,
    PKCONF,
    PKCONF_AWARE,
    PUBLIC_KEYS,
    REPEAT_AFTER,
    SENDING,
    SYMMETRIC,
    TRIES,
    Aborted,
    Closing,
    Connection,
    Session,
    State,
    clamp,
    find,
    need,
    reply,
    view,
)


class Original(Segments):
    """The daemon: `process` says what becomes of a packet, injected ones come back to it on their way out."""

    def __init__(self, key: RsaPrivateKey, seed: object = 0) -> None:
        super().__init__()
        self.aborted = False
        self.wants_to_be_client = False
        self.caches = True
        self.random = Random(repr(seed)).randbytes
        self.connections_by_key: dict[bytes, Connection] = {}
        self._key = key
        self._sessions: list[Session] = []
        self._events: deque[Event] = deque()
        self._injections: list[tuple[Direction, bytes, None]] = []

    # As an engine.

    def handle_packet(
        self, packet: bytes, direction: Direction, now: float, diverted_as: ConnectionClass = ConnectionClass.UNDECIDED
    ) -> Verdict:
        if self.aborted:
            # Its queue's rules have no bypass.
            return DROP
        try:
            changed = self.process(packet, direction, now)
        except (Aborted, KeyAgreementError):
            self.aborted = True
            return DROP
        if changed is None:
            return DROP
        return ACCEPT if changed == packet else (Action.MODIFY, changed, ConnectionClass.UNDECIDED)

    def packets_to_inject(self) -> list[tuple[Direction, bytes, None]]:
        waiting, self._injections = self._injections, []
        return waiting

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        times = (time for each in self.connections_by_key.values() for time in (each.due, each.forget_at))
        return min((time for time in times if time is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        for connection in list(self.connections_by_key.values()):
            if connection.forget_at is not None and now >= connection.forget_at:
                self.connections_by_key.pop(connection.key, None)
            elif connection.due is not None and now >= connection.due:
                if connection.tries >= TRIES:
                    connection.closing = Closing.DEAD
                connection.tries += 1
                connection.due = now + REPEAT_AFTER
                self._inject(connection.repeated, now)

    def connections(self) -> Iterator[Connection]:
        return iter(self.connections_by_key.values())

    def counters(self) -> dict[str, int]:
        encrypted = sum(each.state in CONNECTED for each in self.connections_by_key.values())
        return {"connections": len(self.connections_by_key), "encrypted": encrypted}

    # Packets.

    def process(self, packet: bytes, direction: Direction, now: float) -> bytes | None:
        if packet[0] >> 4 != 4:
            return packet
        offset, flow = locate(packet)
        segment = Segment(packet, offset)
        key = flow if direction is Direction.OUT else reverse_key(flow)
        connection = self.connections_by_key.get(key)
        if connection is None:
            if segment.flags != SYN:
                return packet
            connection = self.connections_by_key[key] = Connection(key)
        step = self._output if direction is Direction.OUT else self._input
        changed = step(connection, segment, now)
        if connection.closing is Closing.DEAD or connection.state is State.DISABLED:
            self.connections_by_key.pop(key, None)
            if connection.session is not None:
                connection.session.used = False
        return changed

    def _inject(self, packet: bytes, now: float) -> None:
        """What it makes itself passes through its own queue again."""
        changed = self.handle_packet(packet, Direction.OUT, now)
        if changed[0] is not Action.DROP:
            self._injections.append((Direction.OUT, joined(changed[1]) or packet, None))

    # What its kernel sends.

    def _output(self, c: Connection, segment: Segment, now: float) -> bytes | None:
        segment = self._closing_out(c, segment, now)
        if c.closing is Closing.DEAD and c.state not in CONNECTED:
            return segment.packet
        if c.state in CONNECTED:
            return self._seal(c, segment)
        if c.state in (State.CLOSED, State.HELLO_SENT, State.NEXTK1_SENT):
            need(c.state is State.CLOSED or segment.flags & SYN)
            return self._offer(c, segment)
        if c.state in (State.HELLO_RECEIVED, State.PKCONF_SENT):
            return self._answer(c, segment)
        if c.state in (State.NEXTK1_RECEIVED, State.NEXTK2_SENT):
            if c.session is None:
                return self._answer(c, segment)
            return self._with_option(c, segment, bytes((NEXTK2,)), State.NEXTK2_SENT)
        if c.state is State.PKCONF_RECEIVED or (c.state is State.INIT1_SENT and find(segment, INIT1) is None):
            return self._send_init1(c, segment)
        if c.state is State.INIT2_SENT:
            if find(segment, INIT2) is None:
                need(not segment.payload and segment.flags == SYN | ACK)
                return None
            self._enable(c)
        return segment.packet

    def _closing_out(self, c: Connection, segment: Segment, now: float) -> Segment:
        if segment.flags == SYN:
            if c.closing is Closing.LAST_ACK:
                self._start_again(c)
            area = options.replace(segment.option_area, {options.SACK_PERMITTED: None})
            return view(segment.edited(option_area=area))
        c.sent(segment.flags, now)
        return segment

    def _offer(self, c: Connection, segment: Segment) -> bytes:
        c.active = True
        if segment.flags != SYN:
            return segment.packet
        peer = c.key[4:8]
        session = c.session or (
            next((each for each in self._sessions if not each.used and each.active and each.peer == peer), None)
            if self.caches
            else None
        )
        if session is None:
            return self._with_option(c, segment, b"", State.HELLO_SENT)
        changed = self._with_option(c, segment, bytes((NEXTK1,)) + session.prefix, State.NEXTK1_SENT)
        if c.state is State.NEXTK1_SENT:
            c.session, session.used = session, True
        return changed

    def _answer(self, c: Connection, segment: Segment) -> bytes:
        if self.wants_to_be_client and not c.active:
            return self._with_option(c, segment, bytes((HELLO,)), State.HELLO_SENT)
        return self._with_option(c, segment, bytes((PKCONF, 2 + len(PUBLIC_KEYS))) + PUBLIC_KEYS, State.PKCONF_SENT)

    def _with_option(self, c: Connection, segment: Segment, suboption: bytes, state: State) -> bytes:
        area = options.pad(segment.option_area + options.encode(CRYPT, suboption))
        if len(area) > options.MAX_LENGTH:
            c.state = State.DISABLED
            return segment.packet
        c.state = state
        return segment.edited(option_area=area)

    def _send_init1(self, c: Connection, segment: Segment) -> bytes:
        c.nonce = c.nonce or self.random(16)
        key = self._key.public_bytes
        counts = b"".join(n.to_bytes(2, "big") for n in (1, len(SYMMETRIC) // 4, len(c.nonce), len(key)))
        message = counts + SYMMETRIC + c.nonce + b"\0" + PUBLIC_KEYS + key
        need(not segment.payload)
        c.sent_shift, c.is_client, c.state = len(message), True, State.INIT1_SENT
        area = options.pad(segment.option_area + options.encode(CRYPT, bytes((INIT1,))))
        need(len(area) <= options.MAX_LENGTH)
        return segment.edited(option_area=area, payload=message)

    # What comes from the wire.

    def _input(self, c: Connection, segment: Segment, now: float) -> bytes | None:
        if segment.flags == SYN and c.closing is Closing.LAST_ACK:
            self._start_again(c)
        if c.repeated and segment.flags & ACK:
            waiting = view(c.repeated)
            if segment.acknowledgment >= waiting.sequence + waiting.payload_length:
                c.repeated, c.due = b"", None
        if segment.flags & RST:
            c.closing = Closing.DEAD
            if c.state not in CONNECTED:
                return segment.packet
        return self._after_input(c, segment, self._receive(c, segment, now))

    def _receive(self, c: Connection, segment: Segment, now: float) -> bytes | None:
        if c.state in CONNECTED:
            return self._open(c, segment, now)
        if c.state in (State.HELLO_RECEIVED, State.NEXTK1_RECEIVED):
            self._start_again(c)
        if c.state is State.CLOSED:
            return self._receive_syn(c, segment)
        if c.state is State.PKCONF_SENT:
            return self._receive_syn(c, segment) if segment.flags == SYN else self._receive_init1(c, segment, now)
        if c.state is State.INIT1_SENT:
            return segment.packet if segment.flags == SYN | ACK else self._receive_init2(c, segment, now)
        if c.state is State.HELLO_SENT:
            return self._receive_answer(c, segment, now)
        if c.state is State.NEXTK1_SENT:
            return self._receive_nextk2(c, segment, now)
        if c.state in (State.NEXTK2_SENT, State.INIT2_SENT):
            return self._receive_first(c, segment, now)
        need(c.state is not State.PKCONF_RECEIVED or segment.flags == SYN | ACK)
        return segment.packet

    def _receive_nextk2(self, c: Connection, segment: Segment, now: float) -> bytes | None:
        if find(segment, NEXTK2) is None and find(segment, NEXTK2_AWARE) is None:
            need(c.session is not None and c.session.used)
            assert c.session is not None
            c.session.used, c.session = False, None
            return self._receive_answer(c, segment, now)
        self._enable(c)
        return segment.packet

    def _receive_first(self, c: Connection, segment: Segment, now: float) -> bytes | None:
        if c.state is State.NEXTK2_SENT and segment.flags & SYN:
            return segment.packet
        need(segment.flags & ACK)
        self._enable(c)
        opened = self._open(c, segment, now)
        need(opened is not None)
        return opened

    def _after_input(self, c: Connection, segment: Segment, changed: bytes | None) -> bytes | None:
        if changed is not None and c.state not in SENDING:
            changed = view(changed).edited(window=0)
        if changed is not None and segment.flags & SYN and not c.clamped and c.state is not State.DISABLED:
            changed = clamp(view(changed))
        c.received(segment.flags)
        return changed

    def _receive_syn(self, c: Connection, segment: Segment) -> bytes:
        c.active = False
        if segment.flags != SYN:
            return segment.packet
        c.state = State.DISABLED
        nextk1 = find(segment, NEXTK1) or find(segment, NEXTK1_AWARE)
        if nextk1 is not None:
            c.state = State.NEXTK1_RECEIVED
            found = (each for each in self._sessions if not each.active and each.prefix == nextk1)
            c.session = next(found, None)
        elif find(segment, HELLO) is not None or find(segment, HELLO_AWARE) is not None:
            c.state = State.HELLO_RECEIVED
        area = options.replace(segment.option_area, {options.SACK_PERMITTED: None})
        c.clamped = True
        return clamp(view(segment.edited(option_area=area)))

    def _receive_answer(self, c: Connection, segment: Segment, now: float) -> bytes:
        if find(segment, HELLO) is not None:
            c.state = State.DISABLED if self.wants_to_be_client else State.HELLO_RECEIVED
            return segment.packet
        specs = find(segment, PKCONF) or find(segment, PKCONF_AWARE)
        # It looks at the first spec alone.
        if not specs or specs[0] != PUBLIC_KEYS[0] or not specs[1] <= 4 <= specs[2]:
            c.state = State.DISABLED
            return segment.packet
        c.offered = specs
        c.state = State.PKCONF_RECEIVED
        if segment.flags != SYN | ACK:
            self._repeat(c, self._send_init1(c, reply(segment)), now)
        return segment.packet

    def _receive_init1(self, c: Connection, segment: Segment, now: float) -> bytes:
        message = segment.payload
        counts = [int.from_bytes(message[at : at + 2], "big") for at in range(2, 8, 2)]
        specs, nonce, key = counts[0] * 4, counts[1], counts[2]
        if find(segment, INIT1) is None or len(message) != 8 + specs + nonce + 4 + key:
            c.state = State.DISABLED
            return segment.packet
        symmetric = [message[at : at + 4] for at in range(8, 8 + specs, 4)]
        # Without one it uses a null pointer.
        need(any(each[1] == 1 for each in symmetric) and any(each[3] == 1 for each in symmetric))
        start = 8 + specs + nonce + 1
        if message[start] != PUBLIC_KEYS[0] or key != 256:
            c.state = State.DISABLED
            return segment.packet
        c.nonce = self.random(16)
        secret = key_schedule.initial_secret(
            server_nonce=c.nonce,
            public_key=message[start + 3 :],
            public_specs=PUBLIC_KEYS,
            symmetric_specs=b"".join(symmetric),
            chosen_symmetric=CHOSEN,
            client_nonce=message[8 + specs : 8 + specs + nonce],
        )
        ciphertext = RsaOaep().encapsulate(message[start + 3 :], c.nonce)
        answer = b"\0\2" + len(ciphertext).to_bytes(2, "big") + CHOSEN + ciphertext
        area = options.pad(options.encode(CRYPT, bytes((INIT2,))))
        c.session = None
        c.master = secret
        c.state, c.is_client = State.INIT2_SENT, False
        c.sent_shift, c.received_shift = len(answer), len(message)
        self._repeat(c, reply(segment).edited(option_area=area, payload=answer), now)
        return segment.edited(payload=b"")

    def _receive_init2(self, c: Connection, segment: Segment, now: float) -> bytes:
        message = segment.payload
        length = int.from_bytes(message[2:4], "big")
        if find(segment, INIT2) is None or len(message) != 8 + length or message[4:8] != CHOSEN:
            c.state = State.DISABLED
            return segment.packet
        c.master = key_schedule.initial_secret(
            server_nonce=self._key.decapsulate(message[8:]),
            public_key=self._key.public_bytes,
            public_specs=c.offered,
            symmetric_specs=SYMMETRIC,
            chosen_symmetric=CHOSEN,
            client_nonce=c.nonce,
        )
        c.received_shift = len(message)
        self._enable(c)
        self._inject(self._acknowledgment(c, segment), now)
        return segment.edited(acknowledgment=add(segment.acknowledgment, -c.sent_shift), payload=b"")

    def _repeat(self, c: Connection, packet: bytes, now: float) -> None:
        c.repeated, c.due = packet, now + REPEAT_AFTER
        self._inject(packet, now)

    # Keys.

    def _enable(self, c: Connection) -> None:
        c.state = State.ENCRYPTING
        resumed = c.session is not None
        secret = c.session.secret if c.session is not None else c.master
        if c.session is not None:
            c.is_client = c.session.is_client
        c.master, following = key_schedule.master_key_and_next_secret(secret)
        c.current = self._keys(c)
        if self.caches:
            if c.session is None:
                c.session = Session(c.active, c.key[4:8], c.is_client, following)
                self._sessions.insert(0, c.session)
            c.session.secret = following
        self._events.append(
            Negotiated(
                Endpoint(str(ip_address(c.key[:4])), int.from_bytes(c.key[8:10], "big")),
                Endpoint(str(ip_address(c.key[4:8])), int.from_bytes(c.key[10:12], "big")),
                "crypt",
                key_schedule.session_id(secret),
                "RSA-2048/AES128-CTR-SEQIV/HMAC-SHA1",
                "client" if c.is_client else "server",
                resumed,
            )
        )

    def _start_again(self, c: Connection) -> None:
        fresh = Connection(c.key)
        c.__dict__.update(fresh.__dict__)
