"""The choice of a firewall."""

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path

from tcpcryptd.netio.errors import DaemonError, ExitCode, FirewallError
from tcpcryptd.netio.firewall.backend import Firewall
from tcpcryptd.netio.firewall.iptables.backend import IptablesRules
from tcpcryptd.netio.firewall.nft.backend import NftRules
from tcpcryptd.netio.firewall.selection import Selection
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.queue_numbers import QueueNumbers

AUTO = "auto"
NAMES = ("nft", "iptables")

_log = logging.getLogger(__name__)


def firewalls(
    selection: Selection, queues: QueueNumbers, marks: MarkScheme, lock_file: Path | None = None
) -> dict[str, Firewall]:
    """All firewalls by name, the first choice first. `lock_file`: see `iptables.tool`."""
    every: tuple[Firewall, ...] = (
        NftRules(selection, queues, marks),
        IptablesRules(selection, queues, marks, lock_file),
    )
    return {each.name: each for each in every}


def choose(name: str, every: Mapping[str, Firewall]) -> Firewall:
    """The one of that name, or with AUTO the first that this host can use; raises FirewallError."""
    if name != AUTO:
        every[name].check()
        return every[name]
    refusals = []
    for each in every.values():
        try:
            each.check()
        except FirewallError as error:
            refusals.append(error.message)
            continue
        for refusal in refusals:
            _log.debug("the rules are those of %s: %s", each.name, refusal)
        return each
    raise FirewallError("; ".join(refusals), ExitCode.UNSUPPORTED)


def install(chosen: Firewall, every: Mapping[str, Firewall]) -> None:
    """Puts the rules of the chosen one in the place of all rules of ours.

    Raises FirewallError. There are none then, unless there were some before, which may hold back plaintext.
    """
    is_first = not stale(every)
    try:
        chosen.install()
    except FirewallError:
        if is_first:
            chosen.remove()
        raise
    # Not before: nothing that they hold back must get past.
    remove({name: each for name, each in every.items() if each is not chosen})


def stale(every: Mapping[str, Firewall]) -> bool:
    """Whether any rule of ours is there; raises FirewallError."""
    return any(each.is_there() and each.stale() for each in every.values())


def remove(every: Mapping[str, Firewall]) -> None:
    """Removes all rules of ours, of whichever firewall they are; raises FirewallError, after the last one."""
    failure: FirewallError | None = None
    for each in every.values():
        if each.is_there():
            try:
                each.remove()
            except FirewallError as error:
                failure = error
    if failure is not None:
        raise failure


def queues_in_use(every: Mapping[str, Firewall]) -> set[int]:
    """The queues that rules of ours divert to, as far as they can be looked at."""
    numbers = set[int]()
    for each in every.values():
        with contextlib.suppress(DaemonError):
            if each.is_there():
                numbers |= each.queues_in_use()
    return numbers
