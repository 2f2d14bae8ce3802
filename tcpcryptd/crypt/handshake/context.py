"""What the states of one handshake share.

The states and where they lead: docs/protocol.md.

Rules: no payload leaves in any of them but Unanswered, and the local kernel is kept from sending by a window of 0
(docs/crypt-option.md section 3). A segment that does not fit the state, and that somebody off the path could have
forged, is dropped or passed on without changing the state. "Plain" hands the connection back to the two kernels as they
left it.
"""

from collections.abc import Sequence
from typing import Final

from tcpcryptd.core.handshake import CommonContext
from tcpcryptd.core.protocol import Classical, ConnectionHandle, Direction
from tcpcryptd.crypt.config import CryptConfig
from tcpcryptd.crypt.constants import MAC, PUBLIC_KEY_SPEC_SIZE, SYMMETRIC_SPEC_SIZE, TIMESTAMP_AREA
from tcpcryptd.crypt.handshake.messages import init1_length, init2_length, split_specs
from tcpcryptd.crypt.protection.numbers import Numbers
from tcpcryptd.crypt.protection.selective import leaves_room
from tcpcryptd.crypt.syn import kept_options
from tcpcryptd.crypto.suites import (
    AES128_CTR_SEQIV_HMAC_SHA1,
    FIRST_PRIVATE,
    SYMMETRIC_SUITES,
    PublicKeyAlgorithm,
    SymmetricSuite,
)
from tcpcryptd.wire.segment import SYN, Segment
from tcpcryptd.wire.sequence import add, difference
from tcpcryptd.wire.syn import SynParameters

_TCP_HEADER: Final = 20
_OPTION_AREA: Final = 4
"""Bytes that CRYPT with INIT1 or INIT2 takes, with its padding."""
_MOST_SPECS: Final = sum(len(suite.offer) for suite in SYMMETRIC_SUITES)

Fields = tuple[int, int]
"""Bytes that INIT1 and INIT2 take for extensions."""


class HandshakeContext(CommonContext):
    """The connection, its configuration and its two ends."""

    def __init__(self, connection: ConnectionHandle, config: CryptConfig) -> None:
        super().__init__(connection)
        self.config = config
        self.peer_aware = False
        self.transcript = b""
        """The CRYPT options of both SYNs, and of PKCONF's segment where that is another one; what proofs are over."""
        self.keeps_sack = any(leaves_room(each.tag_length) for each in (*self.client_suites, *self.server_suites))
        """Whether SACK-permitted stays in the SYNs. That of an original has none: it is only kept between ours."""

    def kept_options(self, syn: Segment) -> bytes:
        """See `kept_options` of tcpcryptd.crypt.syn."""
        return kept_options(syn, keeps_sack=self.keeps_sack)

    @property
    def public_key_algorithms(self) -> tuple[PublicKeyAlgorithm, ...]:
        """The configured mechanisms, or the application's choice of them, as far as policy allows; best first."""
        wanted = _own(self.connection.options.public_key_specs, PUBLIC_KEY_SPEC_SIZE)
        configured = self.config.public_key_algorithms
        if self.connection.must_be_post_quantum:
            configured = tuple(entry for entry in configured if entry.agreement.post_quantum)
        if self.connection.must_authenticate:
            configured = tuple(entry for entry in configured if entry.is_private)
        if not wanted:
            return configured
        return tuple(entry for spec in wanted for entry in configured if entry.accepts(spec))

    def fitting(self, *, is_client: bool, fields: Fields | None = None) -> tuple[PublicKeyAlgorithm, ...]:
        """Those of `public_key_algorithms` whose messages fit, once both SYNs are known; `fields`: with extensions."""
        known = [each for each in self.public_key_algorithms if fields is None or each.is_private]
        return tuple(each for each in known if self.fits(each, is_client=is_client, fields=fields))

    def why_classical(self, fitting: Sequence[PublicKeyAlgorithm]) -> Classical:
        """Why the choice is not post-quantum, if it is not, given what `fitting` had."""
        if any(each.agreement.post_quantum for each in fitting):
            return Classical.PEER
        is_known = any(each.agreement.post_quantum for each in self.public_key_algorithms)
        return Classical.SIZE if is_known else Classical.SETTING

    def fits(self, algorithm: PublicKeyAlgorithm, *, is_client: bool, fields: Fields | None = None) -> bool:
        """Whether INIT1 and INIT2 with a mechanism fit into one segment each, by both MSS and what the kernel knows.

        Only those that can be large are looked at. How many suites a client offers is not known before its INIT1: the
        most that one of ours does.
        """
        if fields is None and not algorithm.agreement.post_quantum:
            return True
        more1, more2 = fields or (0, 0)
        specs = len(self.symmetric_specs) if is_client else _MOST_SPECS
        init1, init2 = init1_length(specs, algorithm.public_key_length), init2_length(algorithm.ciphertext_length)
        stamped = self.local.timestamp is not None and self.remote.timestamp is not None
        area = _OPTION_AREA + (TIMESTAMP_AREA if stamped else 0)
        # The kernel can have learnt of a narrower path since the SYN.
        return max(init1 + more1, init2 + more2) + area <= min(self.local.mss, self.remote.mss, self.connection.max_mss)

    @property
    def client_suites(self) -> tuple[SymmetricSuite, ...]:
        """The configured suites, or the application's choice of them; best first."""
        return self._chosen(self.connection.options.client_ciphers)

    @property
    def server_suites(self) -> tuple[SymmetricSuite, ...]:
        """The same for the server of the exchange."""
        return self._chosen(self.connection.options.server_ciphers)

    @property
    def symmetric_specs(self) -> bytes:
        """The list for INIT1."""
        if self.config.symmetric_offer is not None:
            return self.config.symmetric_offer
        return b"".join(suite.offer for suite in self.client_suites)

    def _chosen(self, wanted: tuple[bytes, ...] | None) -> tuple[SymmetricSuite, ...]:
        configured = self.config.symmetric_suites
        wanted = _own(wanted, SYMMETRIC_SPEC_SIZE)
        if not wanted:
            return configured
        return tuple(suite for spec in wanted for suite in configured if suite.spec == spec)

    def can_name_a_suite_to(self, public_key_specs: list[bytes]) -> bool:
        """Whether INIT1 would hold a symmetric suite that a peer with this PKCONF knows.

        One without a spec of our range may come from the original, which crashes when there is none.
        """
        if any(spec[0] >= FIRST_PRIVATE for spec in public_key_specs):
            return True
        return AES128_CTR_SEQIV_HMAC_SHA1.offered_by(split_specs(self.symmetric_specs, SYMMETRIC_SPEC_SIZE))

    def is_sealed(self, segment: Segment, sent: int) -> bool:
        """Whether a segment has a MAC, and its sender sees the connection, in which INIT1 of `sent` bytes was sent.

        The original shifts the acknowledgment of a repeated INIT2 once more.
        """
        if segment.option(MAC) is None or segment.flags & SYN:
            return False
        ahead = difference(segment.acknowledgment, add(self.local.isn, 1))
        behind = difference(segment.sequence, add(self.remote.isn, 1))
        return ahead in (sent, 2 * sent) and 0 <= behind < max(self.local.window, 1)

    @property
    def max_segment(self) -> int:
        """Bytes of TCP segment that the links of both hosts carry."""
        return min(self.local.mss, self.remote.mss) + _TCP_HEADER

    @property
    def local(self) -> SynParameters:
        """This host."""
        return self.ends.local

    @local.setter
    def local(self, end: SynParameters) -> None:
        self.ends.local = end

    @property
    def remote(self) -> SynParameters:
        """The peer."""
        return self.ends.remote

    @remote.setter
    def remote(self, end: SynParameters) -> None:
        self.ends.remote = end

    def make(self, direction: Direction, shift: int = 0, option: bytes = b"", payload: bytes = b"") -> bytes:
        """The ACK that one end would send after the SYNs, with an option and a payload of our own.

        `shift` is added to the acknowledgment number.
        """
        outbound = direction is Direction.OUT
        return self.ends.acknowledgment(outbound=outbound, shift=shift, option=option, payload=payload)

    def acknowledgment(self) -> bytes:
        """The local kernel's ACK of the peer's SYN, in its own numbers and without an option of ours."""
        return self.make(Direction.OUT)

    def numbers(self, *, sent: int, received: int) -> Numbers:
        """The numbers after handshake messages of these lengths."""
        send_next, receive_next = add(self.local.isn, 1 + sent), add(self.remote.isn, 1 + received)
        ours, theirs = self.local.window_scale, self.remote.window_scale
        scales = (ours, theirs) if ours is not None and theirs is not None else (0, 0)
        return Numbers(sent, received, send_next, receive_next, *scales)


def _own(wanted: tuple[bytes, ...] | None, size: int) -> tuple[bytes, ...]:
    """The specs of this protocol's length: an application's list can have those of TCP-ENO beside them."""
    return tuple(spec for spec in wanted or () if len(spec) == size)
