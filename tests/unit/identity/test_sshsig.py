from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto import identity
from tcpcryptd.crypto.ssh_keys import SshKeyError, write_private_key
from tcpcryptd.identity import sshsig
from tcpcryptd.identity.public_key import key_line
from tests.unit.identity.openssh import make_key, needs_ssh_keygen, ssh_keygen

SEED = bytes(range(32))
KEY = identity.public_key(SEED)
NAME = sshsig.NAMESPACE.decode()


@needs_ssh_keygen
@given(message=st.binary(max_size=300))
def test_ssh_keygen_verifies_a_signature_of_ours(tmp_path_factory: pytest.TempPathFactory, message: bytes) -> None:
    folder = tmp_path_factory.mktemp("sshsig")
    signers = folder / "signers"
    signers.write_text(f"host {key_line(KEY)}\n")
    signature = folder / "signature"
    signature.write_bytes(sshsig.armor(KEY, sshsig.sign(SEED, message)))
    arguments = ("-Y", "verify", "-f", signers, "-I", "host", "-s", signature)
    assert "Good" in ssh_keygen(*arguments, "-n", NAME, stdin=message)
    ssh_keygen(*arguments, "-n", NAME, stdin=message + b"x", succeeds=False)
    ssh_keygen(*arguments, "-n", "file", stdin=message, succeeds=False)


@needs_ssh_keygen
@pytest.mark.parametrize("hash_name", ["sha256", "sha512"])
def test_a_signature_of_ssh_keygen_is_verified(tmp_path: Path, hash_name: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(write_private_key(SEED))
    path.chmod(0o600)
    message = tmp_path / "message"
    message.write_bytes(b"hello")
    ssh_keygen("-q", "-Y", "sign", "-O", f"hashalg={hash_name}", "-n", NAME, "-f", path, message)
    armored = (tmp_path / "message.sig").read_bytes()
    assert sshsig.is_armored(armored, b"hello") == KEY
    assert sshsig.is_armored(armored, b"hallo") is None
    assert sshsig.is_armored(armored, b"hello", b"file") is None


@needs_ssh_keygen
def test_the_armor_is_the_same_as_ssh_keygens(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(write_private_key(SEED))
    path.chmod(0o600)
    theirs = ssh_keygen("-q", "-Y", "sign", "-n", NAME, "-f", path, stdin=b"hello")
    assert sshsig.armor(KEY, sshsig.sign(SEED, b"hello")).decode() == theirs


@needs_ssh_keygen
def test_a_signature_with_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    path = make_key(tmp_path / "key", kind="ecdsa")
    armored = ssh_keygen("-q", "-Y", "sign", "-n", NAME, "-f", path, stdin=b"hello")
    with pytest.raises(SshKeyError):
        sshsig.is_armored(armored.encode(), b"hello")


def test_the_namespace_keeps_purposes_apart() -> None:
    signature = sshsig.sign(SEED, b"m")
    assert sshsig.is_signed(KEY, b"m", signature)
    assert not sshsig.is_signed(KEY, b"m", sshsig.sign(SEED, b"m", b"file"))
    assert not sshsig.is_signed(KEY, b"m", identity.sign(SEED, b"m"))
    assert not sshsig.is_signed(KEY, b"n", signature)


@given(st.data())
def test_a_damaged_armor_is_refused_or_wrong(data: st.DataObject) -> None:
    text = bytearray(sshsig.armor(KEY, sshsig.sign(SEED, b"m")))
    at = data.draw(st.integers(0, len(text) - 1))
    text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with suppress(SshKeyError):
        assert sshsig.is_armored(bytes(text), b"m") in (None, KEY)


@given(st.binary(max_size=300))
def test_what_is_no_signature_is_refused(junk: bytes) -> None:
    with pytest.raises(SshKeyError):
        sshsig.is_armored(junk, b"m")
