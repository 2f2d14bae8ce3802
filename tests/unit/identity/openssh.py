"""OpenSSH's own tools as the other side."""

import base64
import shutil
import subprocess
from pathlib import Path

import pytest

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen (openssh-client)")


def ssh_keygen(*arguments: str | Path, stdin: bytes = b"", succeeds: bool = True) -> str:
    """What ssh-keygen prints."""
    done = subprocess.run(["ssh-keygen", *map(str, arguments)], input=stdin, capture_output=True, check=False)
    assert (done.returncode == 0) is succeeds, done.stderr.decode() + done.stdout.decode()
    return done.stdout.decode()


def make_key(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A private key in OpenSSH's format, its public key beside it."""
    ssh_keygen("-q", "-t", kind, "-N", passphrase, "-C", "host key", "-f", path)
    return path


def certify(authority: Path, key: Path, *options: str) -> bytes:
    """The certificate of a host key, in its binary form; `options` come before the key."""
    ssh_keygen("-q", "-s", authority, "-I", "a host", "-h", *options, f"{key}.pub")
    return certificate_of(key)


def certificate_of(key: Path) -> bytes:
    return base64.b64decode(key.with_name(f"{key.name}-cert.pub").read_text().split()[1])
