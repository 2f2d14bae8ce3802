"""Parts of nft's rules."""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from tcpcryptd.core.verdict import Direction
from tcpcryptd.netio.firewall.selection import Network
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.queue_numbers import QueueNumbers

_FLAGS = "tcp flags & (fin | syn | rst | ack)"
OPENING = f"{_FLAGS} == syn"
NOT_OPENING = f"{_FLAGS} != syn"


class Marks:
    """Our bits of the packet mark ("meta") and of the connection mark ("ct")."""

    def __init__(self, marks: MarkScheme) -> None:
        self._mask, self._foreign = marks.mask, marks.foreign
        self.marked = f"meta mark & {self._mask:#x} != 0"
        """Matches what carries a mark of ours."""
        self.clear = self.set("meta", 0)
        self.marked_by_others = f"{self.is_('meta', 0)} meta mark & {self._foreign:#x} != 0"
        """Matches a packet with a mark of others alone."""

    def is_(self, key: str, value: int) -> str:
        """Matches that value of our bits."""
        return f"{key} mark & {self._mask:#x} == {value:#x}"

    def has(self, key: str, bits: int) -> str:
        """Matches when all of these bits are set."""
        return f"{key} mark & {bits:#x} == {bits:#x}"

    def set(self, key: str, value: int) -> str:
        """Gives our bits that value."""
        return f"{key} mark set {key} mark & {self._foreign:#x}" + (f" | {value:#x}" if value else "")


def queue(queues: QueueNumbers, first: int, bypass: bool = False) -> str:
    """Diverts to the queues that start with this one: `QueueNumbers` says to which of them.

    `bypass`: without a daemon the packet goes on, else it is dropped.
    """
    last = first + queues.workers - 1
    return f"queue num {first}{f'-{last}' if last > first else ''}{' bypass' if bypass else ''}"


def braced(some: Iterable[str]) -> str:
    """An anonymous set."""
    return f"{{ {', '.join(some)} }}"


def names(interfaces: Sequence[str]) -> list[str]:
    """Names of interfaces, quoted; as with iptables, one with a + at its end stands for all that begin so."""
    prefixes = [each[:-1] for each in interfaces if each.endswith("+")]
    # A set does not take what another element covers already.
    alone = [each for each in interfaces if not any(each.startswith(prefix) for prefix in prefixes)]
    largest = [each for each in prefixes if not any(each.startswith(other) and each != other for other in prefixes)]
    found = [f'"{_escaped(each)}"' for each in alone] + [f'"{_escaped(each)}*"' for each in largest]
    return [*dict.fromkeys(found)]


def _escaped(name: str) -> str:
    # An asterisk at the end would stand for all names that begin so.
    return f"{name[:-1]}\\*" if name.endswith("*") else name


def other_addresses(direction: Direction, networks: Sequence[Network]) -> Iterator[str]:
    """Sends remote hosts that are in none of these networks to the chain `plain`."""
    for version, family in ((4, "ipv4"), (6, "ipv6")):
        some = _address_set(version, networks)
        others = f" {_remote(version, direction)} != {some}" if some else ""
        yield f"meta nfproto {family}{others} goto plain"


def addresses(direction: Direction, networks: Sequence[Network]) -> Iterator[str]:
    """What matches remote hosts of these networks, for each IP version that they have."""
    for version in (4, 6):
        some = _address_set(version, networks)
        if some:
            yield f"{_remote(version, direction)} {some}"


def _remote(version: int, direction: Direction) -> str:
    return f"{'ip' if version == 4 else 'ip6'} {'daddr' if direction is Direction.OUT else 'saddr'}"


def _address_set(version: int, networks: Sequence[Network]) -> str:
    """Those of one IP version, collapsed, since a set does not take a network within another one; or nothing."""
    if version == 4:
        some = [*map(str, collapse_addresses(each for each in networks if isinstance(each, IPv4Network)))]
    else:
        some = [*map(str, collapse_addresses(each for each in networks if isinstance(each, IPv6Network)))]
    return braced(some) if some else ""
