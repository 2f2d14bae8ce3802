"""What the daemon tells about one connection."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tcpcryptd.control.address import Address
from tcpcryptd.control.errors import ControlProtocolError
from tcpcryptd.control.peer_record import PeerRecord

STATES = ("handshake", "encrypted", "closed", "plain")


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One connection at one moment."""

    local: Address
    remote: Address
    state: str
    """handshake (not over), encrypted, closed (over, and it was encrypted unless a reason says otherwise) or plain."""
    protocol: str | None
    """The wire protocol: crypt or eno."""
    session_id: bytes | None
    """None unless the connection is encrypted, or was."""
    role: str | None
    """client or server of the key exchange, which need not be the one of the connection; with eno A or B."""
    suite: str | None
    resumed: bool
    peer_aware: bool
    """The application on the other side said that it knows of tcpcrypt."""
    reason: str | None
    """Why the connection is not encrypted."""
    age: float
    """Seconds since it was opened."""
    bytes_sent: int
    bytes_received: int
    post_quantum: bool = False
    """The key agreement behind the keys resists a quantum computer."""
    peer: PeerRecord | None = None
    """Who the other host is; None when no identities are in use, or it is not clear yet."""
    owner: int | None = None
    """User ID of the local socket; None when no process holds it, or when the daemon does not tell."""

    def to_json(self) -> dict[str, object]:
        """The object that stands in a message; the session ID is hexadecimal."""
        return {
            "local": self.local.to_json(),
            "remote": self.remote.to_json(),
            "state": self.state,
            "protocol": self.protocol,
            "session_id": self.session_id.hex() if self.session_id is not None else None,
            "role": self.role,
            "suite": self.suite,
            "resumed": self.resumed,
            "post_quantum": self.post_quantum,
            "peer_aware": self.peer_aware,
            "reason": self.reason,
            "age": round(self.age, 3),
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
            "peer": self.peer.to_json() if self.peer is not None else None,
            "owner": self.owner,
        }

    @classmethod
    def from_json(cls, value: object) -> "SessionRecord":
        """Reads the object of a message, ignoring what it does not know; raises ControlProtocolError."""
        if not isinstance(value, dict):
            raise ControlProtocolError("a session is not an object")
        try:
            return cls(
                local=Address.from_json(value.get("local")),
                remote=Address.from_json(value.get("remote")),
                state=_state(value),
                protocol=_text(value, "protocol"),
                session_id=_session_id(value),
                role=_text(value, "role"),
                suite=_text(value, "suite"),
                resumed=_typed(value, "resumed", bool),
                peer_aware=_typed(value, "peer_aware", bool),
                reason=_text(value, "reason"),
                age=_age(value),
                bytes_sent=_count(value, "bytes_sent"),
                bytes_received=_count(value, "bytes_received"),
                # Not told by earlier versions.
                post_quantum="post_quantum" in value and _typed(value, "post_quantum", bool),
                peer=None if value.get("peer") is None else PeerRecord.from_json(_typed(value, "peer", dict)),
                owner=None if value.get("owner") is None else _count(value, "owner"),
            )
        except ValueError as error:
            raise ControlProtocolError(f"not a session: {error}") from error


def _typed(record: Mapping[str, Any], name: str, kind: type) -> Any:
    value = record.get(name)
    if type(value) is not kind:
        raise ValueError(f"{name} is not of the expected type")
    return value


def _text(record: Mapping[str, Any], name: str) -> str | None:
    return None if record.get(name) is None else str(_typed(record, name, str))


def _count(record: Mapping[str, Any], name: str) -> int:
    number = int(_typed(record, name, int))
    if number < 0:
        raise ValueError(f"{name} is negative")
    return number


def _age(record: Mapping[str, Any]) -> float:
    age = record.get("age")
    if isinstance(age, bool) or not isinstance(age, int | float) or not math.isfinite(age) or age < 0:
        raise ValueError("age is not a number of seconds")
    return float(age)


def _state(record: Mapping[str, Any]) -> str:
    state = str(_typed(record, "state", str))
    if state not in STATES:
        raise ValueError("state is none that is known")
    return state


def _session_id(record: Mapping[str, Any]) -> bytes | None:
    text = _text(record, "session_id")
    return None if text is None else bytes.fromhex(text)
