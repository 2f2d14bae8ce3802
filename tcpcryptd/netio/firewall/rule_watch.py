"""Watches the rules while the daemon runs, and puts them back if they are gone.

Without them, the kernel sends the data of encrypted connections in clear. It also accepts their segments as they come,
under the numbers of the wire: acknowledgments of bytes that did not arrive, and encrypted bytes, which the application
would get once the gap before them is filled. So these connections cannot go on, even if the rules are back at once.

To check and to repair takes runs of iptables, which would block the event loop. So a thread does it, woken by the
kernel or by the clock.
"""

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from tcpcryptd.netio.errors import FirewallError
from tcpcryptd.netio.firewall.backend import RuleState
from tcpcryptd.netio.firewall.rule_events import LegacyTable, RuleEvents

CHECK_SECONDS = 2.0
"""Seconds between two checks of the rules when nothing announces a change."""
LEGACY_SECONDS = 0.05
"""How often the size of the tables of iptables-legacy is read, which takes microseconds."""
_SPACING = 0.02
"""Seconds between two checks: a program that changes rules without pause must not keep us busy."""
_ATTEMPTS = 2
_QUIET_SECONDS = 60.0
"""Repairs so soon after one that was logged are only counted."""

_log = logging.getLogger(__name__)

Sizes = list[tuple[int, int]]


class WatchedRules(Protocol):
    """What is needed of `Firewall`, which says what each does."""

    def state(self) -> RuleState:
        """Raises FirewallError."""

    def repair(self) -> None:
        """Raises FirewallError."""

    def announced(self) -> frozenset[tuple[int, str]]:
        """The tables of nf_tables."""

    def legacy_versions(self) -> list[int]:
        """Those with tables of iptables-legacy."""


class RuleWatch:
    """A source of the event loop. Start it after privileges were given up: capabilities belong to threads.

    `on_damage` is called in the loop's thread, when rules are found to be gone and again when they are back, or could
    not be put back: it resets the encrypted connections.
    """

    def __init__(self, rules: WatchedRules, on_damage: Callable[[], None], interval: float = CHECK_SECONDS) -> None:
        self.repaired = 0
        self.failures = 0
        self.moved = 0
        self._rules = rules
        self._on_damage = on_damage
        self._interval = interval
        self._healthy = True
        self._can_look = True
        self._can_replace = True
        self._quiet_until = 0.0
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stop = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._asked = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="rules", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def fileno(self) -> int:
        """An eventfd."""
        return self._wake

    def handle_ready(self) -> None:
        """Tells of the damage."""
        os.eventfd_read(self._wake)
        self._on_damage()

    def look(self) -> None:
        """Lets the thread look at once: the rules may have to be others."""
        os.eventfd_write(self._asked, 1)

    def counters(self) -> dict[str, int]:
        """How often rules were put back, how often that failed, and how often they were only moved to their place."""
        return {
            "rules_repaired": self.repaired,
            "rules_not_repaired": self.failures,
            "rules_moved": self.moved,
        }

    def close(self) -> None:
        """Ends the thread; iptables, if it runs, is waited for."""
        os.eventfd_write(self._stop, 1)
        if self._thread.is_alive():
            self._thread.join()
        os.close(self._stop)
        os.close(self._asked)
        os.close(self._wake)

    def _run(self) -> None:
        with contextlib.ExitStack() as stack:
            events = _open_events(stack, self._rules)
            legacy = _open_legacy(stack, self._rules)
            alarmed = False
            while not self._stopped(_SPACING):
                sizes = _sizes(legacy)
                try:
                    self._look(alarmed)
                except Exception as error:
                    # The watch must not end by a bug of ours, or by a lack of memory.
                    _log.error("the firewall rules were not checked: %s", type(error).__name__)
                alarmed = self._wait(events, legacy, sizes)

    def _stopped(self, seconds: float) -> bool:
        return bool(select.select([self._stop], [], [], seconds)[0])

    def _wait(self, events: RuleEvents | None, legacy: Sequence[LegacyTable], sizes: Sizes) -> bool:
        """Until it is time to look; whether something was changed."""
        poll = select.poll()
        poll.register(self._stop, select.POLLIN)
        poll.register(self._asked, select.POLLIN)
        if events is not None:
            poll.register(events, select.POLLIN)
        step = LEGACY_SECONDS if legacy else self._interval
        for _ in range(max(1, round(self._interval / step))):
            ready = {descriptor for descriptor, _ in poll.poll(step * 1000)}
            if self._asked in ready:
                os.eventfd_read(self._asked)
                return False
            if self._stop in ready:
                return False
            if (events is not None and events.fileno() in ready and events.read()) or _sizes(legacy) != sizes:
                return True
        return False

    def _look(self, alarmed: bool) -> None:
        try:
            state = self._rules.state()
        except FirewallError as error:
            if alarmed:
                self._fail(error)
            elif self._can_look:
                self._can_look = False
                _log.warning("the firewall rules cannot be checked: %s", error.message)
            return
        self._can_look = True
        if state is RuleState.DAMAGED:
            # Resets are under way while iptables runs.
            self._tell()
            self._repair()
            return
        if not self._healthy:
            self._healthy = True
            _log.warning("the firewall rules are back")
        if state is RuleState.MOVED:
            self._move()
        elif state is RuleState.OUTDATED:
            self._replace()

    def _move(self) -> None:
        """Nothing got past the rules: connections go on."""
        try:
            self._rules.repair()
        except FirewallError as error:
            self.failures += 1
            _log.debug("the firewall rules were not moved to the front: %s", error.message)
        else:
            self.moved += 1

    def _replace(self) -> None:
        """Those that are there hold what they held before."""
        try:
            self._rules.repair()
        except FirewallError as error:
            self.failures += 1
            if self._can_replace:
                self._can_replace = False
                _log.error("the firewall rules are still those of the earlier settings: %s", error.message)
        else:
            self._can_replace = True

    def _repair(self) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._rules.repair()
            except FirewallError as error:
                if attempt == _ATTEMPTS:
                    self._fail(error)
            else:
                self.repaired += 1
                self._tell()
                self._report_repair()
                return

    def _report_repair(self) -> None:
        now = time.monotonic()
        if self._healthy and now < self._quiet_until:
            return
        self._healthy = True
        self._quiet_until = now + _QUIET_SECONDS
        _log.warning(
            "somebody removed or changed the firewall rules of tcpcryptd. They are back, and encrypted connections are "
            "reset, since some of their segments may have left in clear. Further cases within a minute are only counted"
        )

    def _fail(self, error: FirewallError) -> None:
        self.failures += 1
        if self._healthy:
            self._healthy = False
            _log.error(
                "the firewall rules are gone and cannot be put back, encrypted connections are reset: %s", error.message
            )
        self._tell()

    def _tell(self) -> None:
        os.eventfd_write(self._wake, 1)


def _open_events(stack: contextlib.ExitStack, rules: WatchedRules) -> RuleEvents | None:
    try:
        events = RuleEvents(rules.announced())
    except OSError as error:
        _log.debug("the kernel does not announce changes of nf_tables: %s", error.strerror)
        return None
    stack.callback(events.close)
    return events


def _open_legacy(stack: contextlib.ExitStack, rules: WatchedRules) -> list[LegacyTable]:
    tables: list[LegacyTable] = []
    with contextlib.suppress(OSError, FirewallError):
        for version in rules.legacy_versions():
            table = LegacyTable(version)
            stack.callback(table.close)
            table.size()
            tables.append(table)
    return tables


def _sizes(tables: Sequence[LegacyTable]) -> Sizes:
    sizes = []
    for table in tables:
        with contextlib.suppress(OSError):
            sizes.append(table.size())
    return sizes
