from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto import identity
from tcpcryptd.crypto.ssh_keys import SshKeyError, write_private_key
from tcpcryptd.identity import sshsig
from tcpcryptd.identity.proof import HostKey, Part, Proof, ProofError, Role
from tcpcryptd.identity.public_key import key_line
from tests.unit.identity.openssh import certify, make_key, needs_ssh_keygen, ssh_keygen

SEED = bytes(range(32))
HOST = HostKey(SEED)


def part(message: bytes) -> Part:
    return Part(b"eno", Role.INITIATOR, b"SYNs", message)


def message_of(host: HostKey) -> tuple[bytes, Part, Proof]:
    """A message with a proof, what was signed, and the proof as it is read."""
    signed = part(b"before " + host.unsigned + b" behind")
    encoded = host.prove(signed)
    return b"before " + encoded + b" behind", signed, Proof(encoded)


def test_a_proof_shows_its_key() -> None:
    message, _, proof = message_of(HOST)
    assert proof.claim.key == identity.public_key(SEED)
    assert proof.claim.certificate is None
    proof.verify(part(message))


@given(st.data())
def test_nothing_about_it_can_be_changed(data: st.DataObject) -> None:
    message, _, _ = message_of(HOST)
    changed = bytearray(message)
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProofError):
        Proof(bytes(changed[7 : 7 + len(HOST.unsigned)])).verify(part(bytes(changed)))


@pytest.mark.parametrize(
    "change",
    [{"protocol": b"crypt"}, {"role": Role.RESPONDER}, {"transcript": b"SYN"}, {"other": b"x"}],
)
def test_a_proof_is_for_one_part_alone(change: dict[str, Any]) -> None:
    message, _, proof = message_of(HOST)
    with pytest.raises(ProofError, match="wrong signature"):
        proof.verify(replace(part(message), **change))


def test_statements_differ_in_each_part() -> None:
    texts = (b"", b"a", b"ab", b"b")
    parts = [Part(*fields) for fields in product(texts, Role, texts, texts, texts)]
    assert len({each.statement for each in parts}) == len(parts)


@given(st.binary(max_size=300))
def test_what_is_no_proof_is_refused(junk: bytes) -> None:
    with pytest.raises(ProofError):
        Proof(junk).verify(part(junk))


def test_a_message_has_its_proof_once() -> None:
    message, _, proof = message_of(HOST)
    for other in (b"", message[:60], message * 2):
        with pytest.raises(ProofError, match="does not carry"):
            proof.verify(part(other))


@needs_ssh_keygen
def test_ssh_keygen_verifies_a_proof(tmp_path: Path) -> None:
    _, signed, _ = message_of(HOST)
    (tmp_path / "signers").write_text(f"host {key_line(HOST.public)}\n")
    signature = tmp_path / "signature"
    signature.write_bytes(sshsig.armor(HOST.public, HOST.prove(signed)[1:65]))
    arguments = ("-f", tmp_path / "signers", "-I", "host", "-n", sshsig.NAMESPACE.decode(), "-s", signature)
    assert "Good" in ssh_keygen("-Y", "verify", *arguments, stdin=signed.statement)


@needs_ssh_keygen
def test_a_proof_with_a_certificate(tmp_path: Path) -> None:
    path = tmp_path / "host"
    path.write_bytes(write_private_key(SEED))
    path.chmod(0o600)
    (tmp_path / "host.pub").write_text(f"{key_line(HOST.public)} host\n")
    certificate = certify(make_key(tmp_path / "ca"), path, "-n", "192.0.2.1")
    message, signed, proof = message_of(HostKey(SEED, certificate))
    assert proof.claim.certificate is not None
    assert proof.claim.certificate.encoded == certificate
    proof.verify(part(message))
    with pytest.raises(ProofError):
        proof.verify(signed)
    with pytest.raises(SshKeyError, match="another key"):
        HostKey(bytes(32), certificate)
    with pytest.raises(SshKeyError):
        HostKey(SEED, certificate[:-1])


def test_a_private_key_is_not_shown() -> None:
    assert repr(HOST) == "HostKey()"
