"""What the states of one handshake share.

The states and where they lead: docs/eno.md.

Rules: no payload leaves before there are keys, and the local kernel is kept from sending by a window of 0. Once an ACK
with an ENO option went each way there is no way back to plain TCP (RFC 8547 section 4.6): what goes wrong then resets
the connection at both ends.
"""

from typing import Final

from tcpcryptd.core.handshake import CommonContext
from tcpcryptd.core.protocol import Classical, ConnectionHandle
from tcpcryptd.crypto.frame_aead import FrameAead
from tcpcryptd.crypto.hybrid import MLKEM768_X25519, HybridPair
from tcpcryptd.crypto.key_scheme import KeyPair, KeyScheme
from tcpcryptd.eno.config import EnoConfig
from tcpcryptd.eno.role import EnoRole

_SCHEME_SPEC_SIZES: Final = (1, 2)
_CIPHER_SPEC_SIZE: Final = 2


class HandshakeContext(CommonContext):
    """The connection, its configuration and its two ends."""

    def __init__(self, connection: ConnectionHandle, config: EnoConfig) -> None:
        super().__init__(connection)
        self.config = config
        self._only_post_quantum = connection.must_be_post_quantum
        self.sack = False
        """Whether both SYNs permit selective acknowledgments."""
        self.best_is_offered = True
        """Whether this host's SYN had room for its best scheme. Else a session of a lesser one is not kept: resumed
        again and again, it would keep the best one from being offered to a peer that has come to know it."""
        self.schemes = self._schemes()
        """What is configured, or what the application has chosen of it, best first, by `KeyScheme.spec`."""

    def _schemes(self) -> tuple[KeyScheme, ...]:
        configured = self.config.schemes
        if self._only_post_quantum:
            configured = tuple(each for each in configured if each.post_quantum)
        if self.connection.must_authenticate:
            configured = tuple(each for each in configured if each.is_extensible)
        wanted = [spec for spec in self.connection.options.public_key_specs or () if len(spec) in _SCHEME_SPEC_SIZES]
        return tuple(each for spec in wanted for each in configured if each.spec == spec) if wanted else configured

    def aeads(self, role: EnoRole) -> tuple[FrameAead, ...]:
        """The same of the AEAD algorithms, which A offers and B chooses from. A spec is sym_cipher, 2 bytes."""
        configured, options = self.config.aeads, self.connection.options
        specs = options.client_ciphers if role is EnoRole.A else options.server_ciphers
        wanted = [int.from_bytes(spec, "big") for spec in specs or () if len(spec) == _CIPHER_SPEC_SIZE]
        return tuple(each for one in wanted for each in configured if each.identifier == one) if wanted else configured

    @property
    def codes(self) -> list[int]:
        """Those of `schemes`."""
        return [each.code for each in self.schemes]

    @property
    def lacks(self) -> str | None:
        """Why the application's options leave nothing to negotiate; None: they leave something."""
        is_a = self.connection.origin.active and not self.connection.options.passive_role
        if self.schemes and self.aeads(EnoRole.A if is_a else EnoRole.B):
            return None
        if self._only_post_quantum:
            return "a post-quantum key agreement is required, and this host has none that may be used"
        return "the application allows no algorithm that this host has"

    @property
    def classical(self) -> Classical:
        """Why a scheme that was negotiated is not post-quantum, if it is not."""
        if not any(each.post_quantum for each in self.schemes):
            return Classical.SETTING
        return Classical.PEER if self.best_is_offered else Classical.SIZE

    def scheme(self, code: int) -> KeyScheme:
        """The scheme that was negotiated."""
        return next(each for each in self.schemes if each.code == code)

    def key_pair(self, scheme: KeyScheme) -> KeyPair:
        """An ephemeral key pair for host A."""
        return HybridPair(self.config.kem_keys.take()) if scheme is MLKEM768_X25519 else scheme.generate()
