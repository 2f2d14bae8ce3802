import datetime
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto import identity
from tcpcryptd.crypto.ssh_keys import (
    MAX_CERTIFICATE,
    SshKeyError,
    read_certificate,
    read_private_key,
    write_private_key,
)
from tcpcryptd.identity.certificate import objection
from tcpcryptd.identity.public_key import decode_key, encode_key, fingerprint, from_base64, key_line
from tests.unit.identity.openssh import certify, make_key, needs_ssh_keygen, ssh_keygen

SEED = bytes(range(32))


def at(*moment: int) -> float:
    return datetime.datetime(*moment, tzinfo=datetime.UTC).timestamp()  # type: ignore[arg-type,misc]


@needs_ssh_keygen
def test_a_private_key_of_openssh_is_read(tmp_path: Path) -> None:
    path = make_key(tmp_path / "key")
    public = identity.public_key(read_private_key(path.read_bytes()))
    assert (tmp_path / "key.pub").read_text().split()[:2] == key_line(public).split()
    assert ssh_keygen("-l", "-f", path).split()[1] == fingerprint(public)


@needs_ssh_keygen
def test_openssh_reads_a_private_key_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(write_private_key(SEED))
    path.chmod(0o600)
    assert ssh_keygen("-y", "-f", path).split()[:2] == key_line(identity.public_key(SEED)).split()


@needs_ssh_keygen
@pytest.mark.parametrize(
    ("kind", "passphrase", "reason"),
    [("rsa", "", "Ed25519"), ("ecdsa", "", "Ed25519"), ("ed25519", "secret", "passphrase")],
)
def test_other_private_keys_are_refused(tmp_path: Path, kind: str, passphrase: str, reason: str) -> None:
    path = make_key(tmp_path / "key", kind=kind, passphrase=passphrase)
    with pytest.raises(SshKeyError, match=reason):
        read_private_key(path.read_bytes())


@given(st.data())
def test_a_damaged_private_key_is_refused_or_another_key(data: st.DataObject) -> None:
    text = bytearray(write_private_key(SEED))
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    with suppress(SshKeyError):
        assert len(read_private_key(bytes(text))) == identity.KEY_SIZE


@given(st.binary(max_size=200))
def test_what_is_no_key_is_refused(junk: bytes) -> None:
    for read in (read_private_key, read_certificate, decode_key):
        with pytest.raises(SshKeyError):
            read(junk)


def test_a_public_key_is_exactly_so_long() -> None:
    encoded = encode_key(identity.public_key(SEED))
    assert decode_key(encoded) == identity.public_key(SEED)
    for wrong in (encoded[:-1], encoded + b"\0", encoded.replace(b"25519", b"25518"), b""):
        with pytest.raises(SshKeyError):
            decode_key(wrong)


@needs_ssh_keygen
def test_a_certificate_says_what_ssh_keygen_shows(tmp_path: Path) -> None:
    authority, key = make_key(tmp_path / "ca"), make_key(tmp_path / "host")
    encoded = certify(authority, key, "-n", "web1,192.0.2.1", "-V", "20300101000000Z:20310101000000Z", "-z", "7")
    certificate = read_certificate(encoded)
    shown = ssh_keygen("-L", "-f", tmp_path / "host-cert.pub")
    assert "host certificate" in shown
    assert certificate.is_for_host
    assert fingerprint(certificate.key) in shown.splitlines()[2]
    assert fingerprint(certificate.authority) in shown.splitlines()[3]
    assert f'Key ID: "{certificate.key_id}"' in shown
    principals = shown.split("Principals:")[1].split("Critical Options: (none)")[0].split()
    assert list(certificate.principals) == principals == ["web1", "192.0.2.1"]
    assert (certificate.valid_from, certificate.valid_until) == (at(2030, 1, 1), at(2031, 1, 1))


@needs_ssh_keygen
def test_a_certificate_is_valid_for_its_hosts_and_its_time(tmp_path: Path) -> None:
    authority, key = make_key(tmp_path / "ca"), make_key(tmp_path / "host")
    valid = ("-V", "20300101000000Z:20310101000000Z")
    certificate = read_certificate(certify(authority, key, "-n", "web1,192.0.2.1,2001:DB8:0::1,198.51.100.*", *valid))
    then = at(2030, 6, 1)
    for address in ("192.0.2.1", "2001:db8::1", "198.51.100.77"):
        assert objection(certificate, address, then) is None
    assert objection(certificate, "192.0.2.2", then) == "the peer's certificate is not for 192.0.2.2"
    assert "before 2030-01-01 00:00:00 UTC" in str(objection(certificate, "192.0.2.1", at(2029, 12, 31)))
    assert "expired at 2031-01-01 00:00:00 UTC" in str(objection(certificate, "192.0.2.1", at(2031, 1, 1)))


@needs_ssh_keygen
def test_a_certificate_without_principals_and_end_is_for_all_hosts_and_ever(tmp_path: Path) -> None:
    certificate = read_certificate(certify(make_key(tmp_path / "ca"), make_key(tmp_path / "host")))
    assert objection(certificate, "203.0.113.9", at(2399, 1, 1)) is None


@needs_ssh_keygen
def test_a_certificate_with_options_or_for_users_is_not_valid(tmp_path: Path) -> None:
    authority, key = make_key(tmp_path / "ca"), make_key(tmp_path / "host")
    options = read_certificate(certify(authority, key, "-O", "critical:restriction=1"))
    assert "critical options" in str(objection(options, "192.0.2.1", at(2030, 1, 1)))
    ssh_keygen("-q", "-s", authority, "-I", "user", "-n", "192.0.2.1", f"{key}.pub")
    users = certificate_bytes(tmp_path / "host-cert.pub")
    assert "users" in str(objection(read_certificate(users), "192.0.2.1", at(2030, 1, 1)))


def certificate_bytes(path: Path) -> bytes:
    return from_base64(path.read_text().split()[1])


@needs_ssh_keygen
def test_a_certificate_of_another_authority_type_is_refused(tmp_path: Path) -> None:
    encoded = certify(make_key(tmp_path / "ca", kind="ecdsa"), make_key(tmp_path / "host"))
    with pytest.raises(SshKeyError, match="Ed25519"):
        read_certificate(encoded)


@needs_ssh_keygen
def test_no_byte_of_a_certificate_can_be_changed(tmp_path: Path) -> None:
    encoded = certify(make_key(tmp_path / "ca"), make_key(tmp_path / "host"), "-n", "192.0.2.1")
    for position in range(len(encoded)):
        changed = bytearray(encoded)
        changed[position] ^= 1 + position % 255
        with pytest.raises(SshKeyError):
            read_certificate(bytes(changed))
    for length in range(len(encoded)):
        with pytest.raises(SshKeyError):
            read_certificate(encoded[:length])


@needs_ssh_keygen
def test_a_long_certificate_is_refused(tmp_path: Path) -> None:
    names = ",".join(f"host-{number}.site.example" for number in range(250))
    encoded = certify(make_key(tmp_path / "ca"), make_key(tmp_path / "host"), "-n", names)
    assert len(encoded) > MAX_CERTIFICATE
    with pytest.raises(SshKeyError, match="more than"):
        read_certificate(encoded)
