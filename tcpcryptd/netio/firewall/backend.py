"""The interface of a firewall."""

import enum
from typing import Protocol

from tcpcryptd.netio.firewall.selection import Selection


class RuleState(enum.Enum):
    """The state of our rules."""

    INTACT = enum.auto()
    MOVED = enum.auto()
    """They are in the wrong place, but nothing got past them."""
    OUTDATED = enum.auto()
    """They are those of an earlier selection."""
    DAMAGED = enum.auto()
    """Some are gone or changed, or rules of others may have let packets past them."""


class Firewall(Protocol):
    """The rules for one selection. All rules of tcpcryptd count as ours, whoever installed them, however."""

    @property
    def name(self) -> str:
        """The name that `--firewall` takes."""

    def check(self) -> None:
        """Raises FirewallError where it cannot be used: its programs, or what it needs of the kernel, are missing."""

    def is_there(self) -> bool:
        """Whether its programs are installed; without them its rules can neither be seen nor changed."""

    def text(self) -> str:
        """What installs the rules where there are none, with the commands that take it."""

    def select(self, selection: Selection) -> None:
        """From the next `install` or `repair` on, the rules are for this selection; OUTDATED until then.

        Any thread may call it.
        """

    def install(self) -> None:
        """Puts the rules in the place of any of ours that are there.

        Raises FirewallError. Rules of ours can be there then, which `remove` removes when nothing depends on them.
        """

    def state(self) -> RuleState:
        """Whether all that was installed is there, and where it has to be; raises FirewallError."""

    def repair(self) -> None:
        """Installs the rules again where they are not intact; raises FirewallError."""

    def remove(self) -> None:
        """Removes all rules of ours, and no others; raises FirewallError."""

    def stale(self) -> bool:
        """Whether any rule or chain of ours is there; raises FirewallError."""

    def queues_in_use(self) -> set[int]:
        """The queues that rules of ours divert to; raises FirewallError."""

    def announced(self) -> frozenset[tuple[int, str]]:
        """Family and name of the tables of nf_tables whose changes matter."""

    def legacy_versions(self) -> list[int]:
        """The IP versions whose rules are in tables of iptables-legacy, which announces nothing."""
