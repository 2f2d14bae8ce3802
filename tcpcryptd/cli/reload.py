"""What SIGHUP changes while the daemon runs: `Option.reloadable` of the settings, for new connections."""

import logging
from collections.abc import Callable
from dataclasses import replace

from tcpcryptd.cli.config import ConfigError, Settings
from tcpcryptd.cli.options import OPTIONS

LoadSettings = Callable[[], Settings]
"""Reads the settings once more; raises ConfigError."""

_log = logging.getLogger(__name__)


class Reloader:
    """Compares new settings with those in force, and applies what can be applied."""

    def __init__(self, settings: Settings, load: LoadSettings, apply: Callable[[Settings], None]) -> None:
        """`apply` brings into force the reloadable ones of the settings it gets; the others are as they were."""
        self.settings = settings
        """Those in force."""
        self._load = load
        self._apply = apply

    def reload(self) -> None:
        """Reads the settings again; nothing changes when they are wrong. Raises nothing."""
        try:
            new = self._load()
        except ConfigError as error:
            _log.error("%s; all settings stay as they were", error)
            return
        old = self.settings
        changed = [option for option in OPTIONS if getattr(new, option.key) != getattr(old, option.key)]
        in_force = {option.key: getattr(new, option.key) for option in changed if option.reloadable}
        self.settings = replace(old, **in_force)
        self._apply(self.settings)
        applied = ", ".join(option.name for option in changed if option.reloadable)
        waiting = ", ".join(option.name for option in changed if not option.reloadable)
        _log.info("configuration read again; changed: %s", applied or "nothing")
        if waiting:
            _log.warning("changed, but needs a restart: %s", waiting)
