"""The checks of `tcpcryptd doctor` for host identities."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from tcpcryptd.cli.config import Settings
from tcpcryptd.cli.identities import Identities
from tcpcryptd.identity.certificate import period
from tcpcryptd.identity.known_hosts import MAX_BYTES, KnownHosts
from tcpcryptd.identity.proof import HostKey
from tcpcryptd.identity.public_key import fingerprint
from tcpcryptd.netio.doctor import Finding
from tcpcryptd.netio.errors import DaemonError
from tcpcryptd.netio.process.identity_files import read_public
from tcpcryptd.netio.process.privileges import Account
from tcpcryptd.netio.process.state_file import state_directory_objection
from tcpcryptd.netio.process.wall_clock import wall_clock

_SOON: Final = 14 * 86_400
"""Seconds before the end of a certificate in which it should be renewed."""
_READABLE: Final = 0o004


def examine_identity(settings: Settings) -> Iterator[Finding]:
    """The files as the daemon would take them; nothing is changed."""
    key = None
    if settings.identity is not None:
        try:
            key = Identities(replace(settings, peers=None, first_use=False)).authenticator.host_key
        except DaemonError as error:
            yield Finding.problem("identity", error.message, "name another one, or make one: tcpcryptd keygen")
    if key is not None:
        yield from _own(key)
    if settings.peers is not None:
        try:
            yield from _peers(Path(settings.peers), key)
        except DaemonError as error:
            yield Finding.problem("peers", error.message, "name a file in the format of known_hosts")
    if settings.first_use:
        yield from _state(settings)


def _own(key: HostKey) -> Iterator[Finding]:
    yield Finding.ok("identity", f"this host's identity is the key {fingerprint(key.public)}")
    if key.certificate is None:
        return
    now, shown = wall_clock(), period(key.certificate)
    advice = "have it renewed by its authority (docs/fleet.md), and look whether this host's clock is right"
    if not key.certificate.valid_from <= now < key.certificate.valid_until:
        yield Finding.problem("certificate", f"not valid now, but {shown}", advice)
    elif key.certificate.valid_until - now < _SOON:
        yield Finding.warning("certificate", f"only valid {shown}", advice)
    else:
        yield Finding.ok("certificate", f"valid {shown}")


def _peers(path: Path, own: HostKey | None) -> Iterator[Finding]:
    hosts = KnownHosts(read_public(path, MAX_BYTES))
    for line in hosts.malformed[:3]:
        yield Finding.warning("peers", f"{path}, line {line.number} is ignored: {line.reason}", "correct it")
    if not path.stat().st_mode & _READABLE:
        advice = f"chmod a+r {path}"
        yield Finding.warning("peers", f"{path} is not readable for all, so a reload cannot read it", advice)
    elif not hosts.lines:
        advice = "ssh-keyscan -t ed25519 collects them (docs/fleet.md)"
        yield Finding.warning("peers", f"{path} has no Ed25519 key", advice)
    else:
        yield Finding.ok("peers", f"{len(hosts.lines)} lines with an Ed25519 key")
    if hosts.lines and own is not None and not {line.key for line in hosts.lines} & _shown_by(own):
        advice = "if the other hosts have the same list, add this host's key there"
        yield Finding.warning("peers", f"{path} has neither this host's own key nor its authority", advice)


def _shown_by(key: HostKey) -> set[bytes]:
    """Keys by which others can know this host."""
    return {key.public} if key.certificate is None else {key.public, key.certificate.authority}


def _state(settings: Settings) -> Iterator[Finding]:
    directory = Path(settings.state_directory)
    try:
        wrong = state_directory_objection(directory, Account.find(settings.user).user_id)
    except DaemonError as error:
        wrong = error.message
    except OSError as error:
        wrong = f"{directory}: {error.strerror}"
    if wrong is not None:
        yield Finding.problem("state-directory", wrong, "name a directory that is tcpcryptd's alone")
    else:
        yield Finding.ok("state-directory", f"keys that are seen first are kept in {directory}")
