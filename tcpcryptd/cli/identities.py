"""This host's identity and the list of peers, by the settings."""

import logging
from pathlib import Path

from tcpcryptd.cli.config import Settings
from tcpcryptd.cli.first_use import FILE_NAME, FirstUse
from tcpcryptd.cli.first_use import MAX_BYTES as MAX_LEARNED_BYTES
from tcpcryptd.crypto.ssh_keys import CERTIFICATE_TYPE, MAX_CERTIFICATE, SshKeyError, read_private_key
from tcpcryptd.identity.authenticator import Authenticator
from tcpcryptd.identity.known_hosts import MAX_BYTES, KnownHosts
from tcpcryptd.identity.proof import HostKey
from tcpcryptd.identity.public_key import fingerprint, from_base64
from tcpcryptd.identity.trust import Trust
from tcpcryptd.netio.errors import DaemonError
from tcpcryptd.netio.process.identity_files import read_if_there, read_private, read_public
from tcpcryptd.netio.process.privileges import FALLBACK_USER, Account
from tcpcryptd.netio.process.state_file import StateFile
from tcpcryptd.netio.process.wall_clock import wall_clock

MAX_SHOWN = 20
"""Malformed lines that are named one by one."""

_log = logging.getLogger(__name__)


class Identities:
    """To be made as root, before privileges are given up. Raises DaemonError.

    Attributes:
        is_quiet: Another process reports what is wrong with the list of peers.
    """

    def __init__(self, settings: Settings) -> None:
        key = _host_key(Path(settings.identity)) if settings.identity is not None else None
        self._path = Path(settings.peers) if settings.peers is not None else None
        self._text = b""
        self._first_use = _first_use(settings) if settings.first_use else None
        self.is_quiet = False
        self.authenticator = Authenticator(key, self._trust(), wall_clock)

    @classmethod
    def of(cls, settings: Settings) -> "Identities | None":
        """None when no option asks for them."""
        wanted = settings.first_use or settings.require_identity
        return cls(settings) if wanted or settings.identity is not None or settings.peers is not None else None

    def _trust(self) -> Trust:
        self._text = read_public(self._path, MAX_BYTES) if self._path is not None else b""
        hosts = KnownHosts(self._text)
        if not self.is_quiet:
            for line in hosts.malformed[:MAX_SHOWN]:
                _log.warning("%s, line %d is ignored: %s", self._path, line.number, line.reason)
            if len(hosts.malformed) > MAX_SHOWN:
                _log.warning("%s: %d more lines are ignored", self._path, len(hosts.malformed) - MAX_SHOWN)
        return Trust(hosts, self._first_use)

    def forget_key(self) -> None:
        """Drops the private key: the processes that prove have it already."""
        self.authenticator.host_key = None

    def reload(self) -> bool:
        """Reads the list of peers again; returns whether it has changed. If it cannot be read, nothing changes."""
        before = self._text
        try:
            trust = self._trust()
        except DaemonError as error:
            _log.error("%s; the list of peers stays as it was", error.message)
            return False
        if self._text == before:
            return False
        self.authenticator.trust = trust
        return True


def _first_use(settings: Settings) -> FirstUse:
    file = StateFile(Path(settings.state_directory) / FILE_NAME, MAX_LEARNED_BYTES)
    account = Account.find(settings.user)
    if account.name == FALLBACK_USER:
        _log.warning("first-use: other programs that run as %s can change the remembered keys", FALLBACK_USER)
    file.prepare(account.user_id, account.group_id)
    return FirstUse(file)


def _host_key(path: Path) -> HostKey:
    """The key of a file, with the certificate that stands beside it as OpenSSH names it, FILE-cert.pub."""
    try:
        private = read_private_key(read_private(path))
        certificate_path = path.with_name(f"{path.name}-cert.pub")
        line = read_if_there(certificate_path, 2 * MAX_CERTIFICATE)
        key = HostKey(private)
    except ValueError as error:
        raise DaemonError(f"{path}: {error}") from error
    if line is not None:
        try:
            key = HostKey(private, _certificate(line))
        except ValueError as error:
            raise DaemonError(f"{certificate_path}: {error}") from error
    kind = "key" if line is None else "certificate for key"
    _log.info("this host's identity is the %s %s", kind, fingerprint(key.public))
    return key


def _certificate(line: bytes) -> bytes:
    kind, encoded, *_ = *line.split(maxsplit=2), b"", b""
    if kind != CERTIFICATE_TYPE:
        raise SshKeyError(f"not a certificate of type {CERTIFICATE_TYPE.decode()}")
    return from_base64(encoded.decode("latin-1"))
