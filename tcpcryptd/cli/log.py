"""The log on stderr. Nothing secret is ever in it."""

import logging
import os

from tcpcryptd.core.event import (
    Closed,
    Disabled,
    Event,
    Identified,
    IntegrityFailure,
    InternalError,
    Negotiated,
    PeerRefused,
)
from tcpcryptd.core.peer_identity import Outcome
from tcpcryptd.netio.process.stderr_lines import StderrLines, is_the_journal

_STDERR = 2
_LEVELS = {Outcome.FIRST_USE: logging.INFO, Outcome.UNKNOWN: logging.INFO, Outcome.INVALID: logging.WARNING}
"""Of what is said of peers that are not authenticated; the others are for --verbose."""

_log = logging.getLogger("tcpcryptd")


class _Formatter(logging.Formatter):
    """Marks what is worse than information."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        line = super().formatMessage(record)
        return f"{record.levelname.lower()}: {line}" if record.levelno > logging.INFO else line


def reserve_standard_descriptors() -> None:
    """Opens /dev/null for those of stdin, stdout and stderr that are closed, so that no socket takes their number."""
    # open() gives the lowest number that is free.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)


def set_up_log(verbose: bool) -> None:
    """Sends the package's log to stderr, one line for each message. A line that cannot be written at once is lost."""
    logging.raiseExceptions = False
    # Nothing of these is shown, and they are half of what a line costs (logging's "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if not _log.handlers:
        # Once: without privileges, a pipe cannot be opened again.
        _log.addHandler(StderrLines())
    for handler in _log.handlers:
        handler.setFormatter(_Formatter())
        if isinstance(handler, StderrLines):
            handler.to_journal = is_the_journal()
    _log.setLevel(logging.DEBUG if verbose else logging.INFO)
    _log.propagate = False


def _inform(line: str) -> None:
    """`_log.info` without what that costs, for what is logged of every connection."""
    for handler in _log.handlers:
        if isinstance(handler, StderrLines):
            handler.write_line(line)


def log_event(event: Event) -> None:
    """Writes an event of the engine to the log."""
    match event:
        case Negotiated():
            session = event.session_id.hex() if event.session_id is not None else "-"
            about = (", resumed" if event.resumed else "") + (", post-quantum" if event.post_quantum else "")
            _inform(f"{event.local} {event.remote} encrypted, session {session}, {event.suite}, {event.role}{about}")
        case Disabled(local=local, remote=remote, reason=reason):
            _log.debug("%s %s not encrypted: %s", local, remote, reason)
        case Identified(local=local, remote=remote, identity=identity):
            if identity.is_authenticated:
                _inform(f"{local} {remote} authenticated: {identity.name}, {identity.fingerprint}")
            else:
                _log.log(_LEVELS.get(identity.outcome, logging.DEBUG), "%s %s %s", local, remote, identity.reason)
        case PeerRefused(local=local, remote=remote, reason=reason):
            _log.warning("%s %s refused: %s", local, remote, reason)
        case IntegrityFailure(local=local, remote=remote):
            _log.warning("%s %s segment dropped: it is not authentic", local, remote)
        case Closed(local=local, remote=remote):
            _log.debug("%s %s closed", local, remote)
        case InternalError(description=description):
            _log.error("bug in tcpcryptd: %s", description)
