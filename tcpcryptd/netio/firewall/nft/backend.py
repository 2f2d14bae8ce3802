"""The rules in a table of nft, behind the seam (`backend`)."""

from collections.abc import Iterator

from tcpcryptd.netio.errors import ExitCode, FirewallError
from tcpcryptd.netio.firewall.backend import RuleState
from tcpcryptd.netio.firewall.nft import tool
from tcpcryptd.netio.firewall.nft.rules import FAMILY, TABLE, build, transaction
from tcpcryptd.netio.firewall.selection import Selection
from tcpcryptd.netio.kernel.interfaces import vrf_names
from tcpcryptd.netio.kernel.queue_binding import tells_connections
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.queue_numbers import QueueNumbers

_INET = 1
"""NFPROTO_INET (linux/netfilter.h)."""

Contents = list[tuple[object, ...]]


class NftRules:
    """See `backend.Firewall`."""

    name = "nft"

    def __init__(self, selection: Selection, queues: QueueNumbers, marks: MarkScheme) -> None:
        self._selection = selection
        self._queues = queues
        self._marks = marks
        self._installed: Contents = []
        self._in_force = selection
        self._vrfs = vrf_names()

    def check(self) -> None:
        """See Firewall."""
        tool.check(self._transaction())
        if not tells_connections():
            raise FirewallError(
                "a queue's verdict cannot change the mark of a connection (CONFIG_NETFILTER_NETLINK_GLUE_CT)",
                ExitCode.UNSUPPORTED,
            )

    def is_there(self) -> bool:
        """See Firewall."""
        return tool.is_installed()

    def text(self) -> str:
        """See Firewall."""
        return f"# nft -f -\n{self._transaction()}"

    def select(self, selection: Selection) -> None:
        """See Firewall."""
        self._selection = selection

    def install(self) -> None:
        """See Firewall."""
        selection = self._selection
        tool.apply(self._transaction())
        self._in_force = selection
        # Until they have been seen, `state` calls them damaged.
        self._installed = []
        self._installed = contents(tool.listed_table())

    def state(self) -> RuleState:
        """See Firewall. Nobody else's rules come before ours, whose chains have priorities of their own."""
        if contents(tool.listed_table()) != self._installed:
            return RuleState.DAMAGED
        if self._selection != self._in_force:
            return RuleState.OUTDATED
        return RuleState.INTACT if vrf_names() == self._vrfs else RuleState.MOVED

    def repair(self) -> None:
        """See Firewall."""
        self._vrfs = vrf_names()
        self.install()

    def remove(self) -> None:
        """See Firewall."""
        if tool.has_table():
            tool.apply(f"delete table {FAMILY} {TABLE}\n")

    def stale(self) -> bool:
        """See Firewall."""
        return tool.has_table()

    def queues_in_use(self) -> set[int]:
        """See Firewall."""
        return set(_queues(tool.listed_table()))

    def announced(self) -> frozenset[tuple[int, str]]:
        """See Firewall."""
        return frozenset({(_INET, TABLE)})

    def legacy_versions(self) -> list[int]:
        """See Firewall."""
        return []

    def _transaction(self) -> str:
        return transaction(build(self._selection, self._queues, self._marks, self._vrfs))


def contents(listed: list[dict[str, tool.Json]]) -> Contents:
    """Tells whether anything was changed: the kernel gives each object a unique number.

    So what nft prints of the rules themselves, which depends on its version, does not matter.
    """
    found: Contents = []
    for each in listed:
        for kind, value in each.items():
            place = [value.get(key) for key in ("chain", "name", "handle", "hook", "prio", "policy")]
            found.append((kind, *place, str(value.get("flags"))))
    return found


def _queues(value: tool.Json) -> Iterator[int]:
    """The numbers in all `queue` statements."""
    if isinstance(value, list):
        for each in value:
            yield from _queues(each)
    elif isinstance(value, dict):
        if "queue" in value and isinstance(value["queue"], dict):
            yield from _numbers(value["queue"].get("num"))
        for each in value.values():
            yield from _queues(each)


def _numbers(value: tool.Json) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, dict) and len(value.get("range", ())) == 2:
        first, last = value["range"]
        yield from range(first, last + 1)
