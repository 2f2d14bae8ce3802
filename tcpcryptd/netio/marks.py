"""The bits of the packet mark and the connection mark that belong to tcpcryptd.

Both marks are 32 bits that all programs of a host share, so only the bits under a mask are read and written. As values
of the masked field: 0 undecided, 1 plain, 2 encrypted and 5 stream, which the connection mark keeps; 3 and 4, on
packets only, say that the daemon injected the packet towards the wire or towards the local kernel.

Connections of hosts behind this one have other values, so that no rule takes them for its own: as connection marks 3
undecided, 6 encrypted and 7 stream. Their packets have 3 while they are forwarded from the inside to the outside.

What the daemon lets pass comes by the rules once more, with the mark of its verdict: 5 undecided, 1 plain, 6 encrypted
and 7 stream; forwarded 2, 1, 4 and 5. A rule of others may have copied the connection mark to a packet before it comes
to ours (`CONNMARK --restore-mark`, nft `meta mark set ct mark`), and such a packet must not pass for one that has been
handled. So the marks of verdicts are not those of the connections that they are about; where one is, the rules tell the
two apart (`firewall.iptables.mark_rules`).

Rules of nft need no marks of verdicts where packets are not forwarded (`passage`). They mark a packet with 3 while it
is with the daemon, which again is no mark of its connection.
"""

from dataclasses import dataclass

from tcpcryptd.core.verdict import ConnectionClass, Direction

DEFAULT_MASK = 0x70000000
_ALL_BITS = 0xFFFFFFFF
_FORWARDED = {
    ConnectionClass.UNDECIDED: 3,
    ConnectionClass.PLAIN: 1,
    ConnectionClass.ENCRYPTED: 6,
    ConnectionClass.STREAM: 7,
}
_VERDICT = {
    ConnectionClass.UNDECIDED: 5,
    ConnectionClass.PLAIN: 1,
    ConnectionClass.ENCRYPTED: 6,
    ConnectionClass.STREAM: 7,
}
_FORWARDED_VERDICT = {
    ConnectionClass.UNDECIDED: 2,
    ConnectionClass.PLAIN: 1,
    ConnectionClass.ENCRYPTED: 4,
    ConnectionClass.STREAM: 5,
}
_DIVERTED = 3
_LARGEST_VALUE = max(_FORWARDED.values())


@dataclass(frozen=True)
class MarkScheme:
    """Where in the 32 bits the field lies. Raises ValueError unless the mask is at least three adjacent bits."""

    mask: int = DEFAULT_MASK

    def __post_init__(self) -> None:
        if not 0 < self.mask <= _ALL_BITS or not self._is_contiguous() or self.mask // self._unit < _LARGEST_VALUE:
            raise ValueError(f"mark mask {self.mask:#x}: must be three or more adjacent bits of 32")

    def _is_contiguous(self) -> bool:
        return (self.mask + self._unit) & self.mask == 0

    @property
    def _unit(self) -> int:
        return self.mask & -self.mask

    @property
    def foreign(self) -> int:
        """The bits that are not ours."""
        return self.mask ^ _ALL_BITS

    def of_class(self, connection_class: ConnectionClass) -> int:
        """The mark of a class; 0 for undecided."""
        return int(connection_class) * self._unit

    def of_forwarded(self, connection_class: ConnectionClass) -> int:
        """The mark of a class for connections of hosts behind this one."""
        return _FORWARDED[connection_class] * self._unit

    def of_verdict(self, connection_class: ConnectionClass, forwarded: bool = False) -> int:
        """The mark of a packet that was handled and passes; `forwarded`: of a host behind this one."""
        return (_FORWARDED_VERDICT if forwarded else _VERDICT)[connection_class] * self._unit

    def of_verdicts(self, diverted_as: ConnectionClass, forwarded: bool) -> dict[ConnectionClass, int]:
        """The same, by the class that a verdict names: UNDECIDED stands for what the packet was diverted as."""
        marks = {each: self.of_verdict(each, forwarded) for each in ConnectionClass}
        return marks | {ConnectionClass.UNDECIDED: marks[diverted_as]}

    @property
    def diverted(self) -> int:
        """The mark of a packet that rules of nft have diverted, unless it is forwarded.

        Also of one which is injected towards the wire: it is not diverted, and loses the mark.
        """
        return _DIVERTED * self._unit

    @property
    def forwarded_encrypted(self) -> str:
        """What matches both encrypted classes of hosts behind this one, and no other mark, as iptables writes it."""
        both = self.of_forwarded(ConnectionClass.ENCRYPTED)
        return f"{both:#x}/{both:#x}"

    @property
    def outward(self) -> int:
        """The mark of a forwarded packet that goes from the inside to the outside."""
        return self.of_injection(Direction.OUT)

    def of_injection(self, direction: Direction) -> int:
        """The mark of a packet that the daemon injects."""
        return (3 if direction == Direction.OUT else 4) * self._unit

    def match(self, mark: int) -> str:
        """A mark and the mask as iptables writes them."""
        return f"{mark:#x}/{self.mask:#x}"
