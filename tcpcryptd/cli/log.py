"""The log on stderr. Nothing secret is ever in it."""

import logging
import os

from tcpcryptd.core.event import Closed, Disabled, Event, IntegrityFailure, InternalError, Negotiated
from tcpcryptd.netio.stderr_lines import StderrLines

_STDERR = 2

_log = logging.getLogger("tcpcryptd")


class _Formatter(logging.Formatter):
    """Marks what is worse than information."""

    _second, _text = 0, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 (logging's name)
        """The time of day, which many lines of one second share."""
        second = int(record.created)
        if second != self._second:
            self._second, self._text = second, super().formatTime(record, datefmt)
        return self._text

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        if record.levelno > logging.INFO:
            record.message = f"{record.levelname.lower()}: {record.message}"
        return super().formatMessage(record)


def reserve_standard_descriptors() -> None:
    """Opens /dev/null in the place of stdin, stdout and stderr where they are closed, for no socket to take it."""
    # open() gives the lowest number that is free.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)


def set_up_log(verbose: bool) -> None:
    """Sends the package's log to stderr, one line for each message. What cannot be written at once is lost."""
    logging.raiseExceptions = False
    # Nothing of these is shown, and they are half of what a line costs (logging's "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if not _log.handlers:
        # Once: without privileges, a pipe cannot be opened again.
        _log.addHandler(StderrLines())
    # The journal has the time of each line itself.
    text = "%(message)s" if "JOURNAL_STREAM" in os.environ else "%(asctime)s %(message)s"
    for handler in _log.handlers:
        handler.setFormatter(_Formatter(text, "%Y-%m-%d %H:%M:%S"))
    _log.setLevel(logging.DEBUG if verbose else logging.INFO)
    _log.propagate = False


def log_event(event: Event) -> None:
    """Writes what the engine reports of a connection."""
    match event:
        case Negotiated(info=info):
            _log.info(
                "%s %s encrypted, session %s, %s, %s%s",
                info.local,
                info.remote,
                info.session_id.hex() if info.session_id is not None else "-",
                info.suite,
                info.role,
                ", resumed" if info.resumed else "",
            )
        case Disabled(local=local, remote=remote, reason=reason):
            _log.debug("%s %s not encrypted: %s", local, remote, reason)
        case IntegrityFailure(local=local, remote=remote):
            _log.warning("%s %s segment dropped: it is not authentic", local, remote)
        case Closed(local=local, remote=remote):
            _log.debug("%s %s closed", local, remote)
        case InternalError(description=description):
            _log.error("bug in tcpcryptd: %s", description)
