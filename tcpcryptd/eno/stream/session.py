"""The session of an encrypted connection: its keys and its ID (RFC 8548 sections 3.3 and 3.4)."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tcpcryptd.core.protocol import Classical, Description
from tcpcryptd.crypto import tcpcrypt_schedule as schedule
from tcpcryptd.crypto.frame_aead import FrameAead, FrameProtection
from tcpcryptd.crypto.key_scheme import KeyScheme
from tcpcryptd.eno.role import EnoRole
from tcpcryptd.eno.stream.frame import KeyChain


@dataclass(slots=True)
class Session:
    """What two hosts agreed on for one connection."""

    session_id: bytes
    """33 bytes, the same at both ends and not secret."""
    role: EnoRole
    """Of this host, in this connection."""
    scheme: KeyScheme
    aead: FrameAead
    resumed: bool
    peer_aware: bool
    """The peer's application knows of tcpcrypt."""
    classical: Classical
    """Why the scheme is not post-quantum, if it is not."""
    outbound_keys: KeyChain = field(repr=False)
    inbound_keys: KeyChain = field(repr=False)

    def describe(self, sent: int, received: int, generation: int) -> Description:
        """For the control socket; `sent`, `received`: bytes of plaintext."""
        return Description(
            self.session_id,
            self.role.value,
            f"{self.scheme.name}/{self.aead.name}",
            self.resumed,
            self.peer_aware,
            sent,
            received,
            None,
            self.scheme.spec,
            self.aead.identifier.to_bytes(2, "big"),
            generation & 0xFF,
            self.scheme.post_quantum,
            self.classical,
        )


class GenerationKeys:
    """A KeyChain: derives mk[j] when generation j begins, and forgets the one before."""

    __slots__ = ("_aead", "_direction", "_generation", "_log_keys", "_master")

    def __init__(
        self, master: bytes, aead: FrameAead, direction: int, log_keys: Callable[[int, bytes], None] | None
    ) -> None:
        """`direction`: 0 for k_ab, 1 for k_ba."""
        self._master = master
        self._aead = aead
        self._direction = direction
        self._generation = 0
        self._log_keys = log_keys

    def __call__(self, generation: int) -> FrameProtection:
        """The protection of a generation, which comes after all that were asked for."""
        while self._generation < generation:
            self._master = schedule.next_master_key(self._master)
            self._generation += 1
        if self._log_keys is not None:
            self._log_keys(self._generation, self._master)
        return self._aead.protection(schedule.traffic_key(self._master, self._aead, self._direction))
