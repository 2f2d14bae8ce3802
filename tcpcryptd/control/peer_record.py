"""What the daemon tells about the host at the other end of a connection."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """Who it is, as far as that is known."""

    outcome: str
    """authenticated, first_use, unknown, absent or invalid; where a connection was refused also changed, revoked or
    forged."""
    name: str | None
    """What people call it: a name of the list, or its address; None unless it is authenticated."""
    fingerprint: str | None
    """Of its key, as ssh shows it; None when it has proved nothing."""
    reason: str | None
    """Why it is not authenticated."""

    def to_json(self) -> dict[str, str | None]:
        """The object that stands in a message."""
        return {"outcome": self.outcome, "name": self.name, "key": self.fingerprint, "reason": self.reason}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "PeerRecord":
        """Reads that object, ignoring what it does not know; raises ValueError."""
        fields = [value.get(name) for name in ("outcome", "name", "key", "reason")]
        if not all(each is None or type(each) is str for each in fields) or fields[0] is None:
            raise ValueError("a peer's fields are not texts")
        outcome, name, fingerprint, reason = fields
        if (outcome == "authenticated") is (name is None):
            raise ValueError("a peer has a name exactly when it is authenticated")
        return cls(str(outcome), name, fingerprint, reason)
