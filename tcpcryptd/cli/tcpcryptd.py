"""tcpcryptd: the daemon as a command."""

import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tcpcryptd.cli import doctor, keygen
from tcpcryptd.cli.arguments import build_parser
from tcpcryptd.cli.assembly import daemon_config, run
from tcpcryptd.cli.config import ConfigError, load_settings
from tcpcryptd.cli.doubts import doubts
from tcpcryptd.cli.log import reserve_standard_descriptors, set_up_log
from tcpcryptd.control.client import ControlClient
from tcpcryptd.control.errors import ControlError, RequestRefused
from tcpcryptd.netio.daemon import cleanup
from tcpcryptd.netio.errors import DaemonError, ExitCode
from tcpcryptd.netio.kernel.interfaces import interface_names
from tcpcryptd.output import showing
from tcpcryptd.wire.build import is_free_threaded

DOCTOR, KEYGEN = "doctor", "keygen"

_log = logging.getLogger("tcpcryptd")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code, a member of ExitCode, or one of Severity for the doctor."""
    reserve_standard_descriptors()
    if is_free_threaded():
        print("tcpcryptd: free-threaded Python is not supported, use an ordinary build of Python", file=sys.stderr)
        return ExitCode.UNSUPPORTED
    return showing("tcpcryptd", lambda: _run(arguments), failure=ExitCode.FAILURE, reader_left=ExitCode.OK)


def _run(arguments: Sequence[str] | None) -> int:
    words = sys.argv[1:] if arguments is None else [*arguments]
    if words[:1] == [DOCTOR]:
        return doctor.main(words[1:])
    if words[:1] == [KEYGEN]:
        return keygen.main(words[1:])
    given = vars(build_parser().parse_args(words))
    set_up_log(bool(given.get("verbose")))
    file = given.get("config")
    load = partial(load_settings, Path(file) if file is not None else None, given)
    try:
        settings = load()
        set_up_log(settings.verbose)
        if given.get("cleanup"):
            cleanup(daemon_config(settings))
            return ExitCode.OK
        if given.get("flush_cache"):
            with ControlClient(settings.control_socket_path) as client:
                _log.info("%d sessions forgotten", client.flush_cache())
            return ExitCode.OK
        for doubt in doubts(settings, interface_names()):
            _log.warning("%s", doubt)
        return run(settings, load)
    except ConfigError as error:
        _log.error("%s", error)
        return ExitCode.USAGE
    except ControlError as error:
        _log.error("%s", error)
        return ExitCode.PERMISSION if isinstance(error, RequestRefused) else ExitCode.FAILURE
    except DaemonError as error:
        _log.error("%s", error.message)
        return error.exit_code
    except KeyboardInterrupt:
        # Before the event loop takes signals over: nothing has been set up that stays.
        _log.error("interrupted while starting")
        return ExitCode.FAILURE


if __name__ == "__main__":
    sys.exit(main())
