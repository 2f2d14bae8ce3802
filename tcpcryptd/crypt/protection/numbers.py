"""Where a handshake left the sequence numbers."""

from dataclasses import dataclass


@dataclass(slots=True)
class Numbers:
    """The wire's numbers and the kernel's, which differ by the handshake messages (docs/crypt-option.md section 3)."""

    sent_shift: int
    """How far the wire is ahead of the local kernel: the length of the handshake message that this host sent."""
    received_shift: int
    send_next: int
    """Of the next segment that the local kernel sends, as it stands on the wire."""
    receive_next: int
    sent_scale: int = 0
    """Bits by which the windows in this host's segments are shifted (RFC 7323, section 2)."""
    received_scale: int = 0
