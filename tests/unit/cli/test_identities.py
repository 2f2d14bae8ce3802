import logging
from ipaddress import ip_network
from pathlib import Path

import pytest

from tcpcryptd.cli import identities
from tcpcryptd.cli.config import Settings
from tcpcryptd.cli.identities import Identities
from tcpcryptd.cli.own_engine import OwnEngine
from tcpcryptd.core.protocol import Outcome
from tcpcryptd.crypto.identity import public_key
from tcpcryptd.crypto.ssh_keys import write_private_key
from tcpcryptd.identity.claim import Claim
from tcpcryptd.identity.public_key import fingerprint, key_line
from tcpcryptd.netio.errors import DaemonError
from tests.unit.identity.openssh import certify, make_key, needs_ssh_keygen

SEED = bytes(range(32))
PUBLIC, OTHER = public_key(SEED), public_key(bytes(32))
ADDRESS = "192.0.2.1"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(write_private_key(SEED))
    path.chmod(0o600)
    return path


@pytest.fixture
def peers(tmp_path: Path) -> Path:
    path = tmp_path / "peers"
    path.write_text(f"{ADDRESS} {key_line(OTHER)}\n")
    return path


def outcome(found: Identities) -> Outcome:
    return found.authenticator.trust.decide(ADDRESS, None, Claim(OTHER), 0).outcome


def test_without_options_nobody_is_asked() -> None:
    assert Identities.of(Settings()) is None


@pytest.mark.parametrize("name", ["identity", "peers", "require_identity"])
def test_each_option_works_alone(key: Path, peers: Path, name: str) -> None:
    values = {"identity": str(key), "peers": str(peers), "require_identity": (ip_network("192.0.2.0/24"),)}
    found = Identities.of(Settings(**{name: values[name]}))  # type: ignore[arg-type]
    assert found is not None
    assert (found.authenticator.host_key is not None) == (name == "identity")
    assert (outcome(found) is Outcome.AUTHENTICATED) == (name == "peers")


def test_the_key_is_named_in_the_log(key: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        found = Identities.of(Settings(identity=str(key)))
    assert found is not None
    assert found.authenticator.host_key is not None
    assert found.authenticator.host_key.public == PUBLIC
    assert caplog.messages == [f"this host's identity is the key {fingerprint(PUBLIC)}"]
    found.forget_key()
    assert found.authenticator.host_key is None


@needs_ssh_keygen
def test_a_certificate_beside_the_key(key: Path, tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(f"{key_line(PUBLIC)} host\n")
    encoded = certify(make_key(tmp_path / "ca"), key, "-n", ADDRESS)
    found = Identities.of(Settings(identity=str(key)))
    assert found is not None
    assert found.authenticator.host_key is not None
    assert encoded in found.authenticator.host_key.unsigned


@pytest.mark.parametrize("content", [b"", b"ssh-ed25519 AAAA", b"ssh-ed25519-cert-v01@openssh.com AAAA", b"\0\xff"])
def test_a_certificate_that_is_none(key: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key-cert.pub").write_bytes(content)
    with pytest.raises(DaemonError, match=r"key-cert\.pub: "):
        Identities(Settings(identity=str(key)))


def test_malformed_lines_are_named(
    peers: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(identities, "MAX_SHOWN", 2)
    with peers.open("a") as file:
        file.write("nonsense\n" * 5)
    Identities(Settings(peers=str(peers)))
    assert [message.split(": ")[0] for message in caplog.messages] == [
        f"{peers}, line 2 is ignored",
        f"{peers}, line 3 is ignored",
        str(peers),
    ]
    assert caplog.messages[-1].endswith("3 more lines are ignored")


def test_a_reload(peers: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = Identities(Settings(peers=str(peers)))
    assert not found.reload()
    peers.write_text(f"{ADDRESS} {key_line(PUBLIC)}\n")
    assert found.reload()
    assert outcome(found) is Outcome.CHANGED
    peers.unlink()
    assert not found.reload()
    assert outcome(found) is Outcome.CHANGED
    assert "the list of peers stays as it was" in caplog.text


def test_what_a_reload_does_to_the_engine(peers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Identities(Settings(peers=str(peers)))
    settings = Settings(peers=str(peers))
    own = OwnEngine(settings, None, identities=found)
    done: list[str] = []
    monkeypatch.setattr(own.engine, "flush_sessions", lambda: done.append("flush"))
    monkeypatch.setattr(own.engine, "review_identities", lambda judge: done.append("review"))
    own.apply(settings)
    assert done == []
    peers.write_text("")
    own.apply(settings)
    assert done == ["flush", "review"]


@pytest.mark.parametrize("name", ["nobody", "daemon"])
def test_who_can_change_what_first_use_remembers(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    assert Identities.of(Settings(first_use=True, user=name, state_directory=str(tmp_path / "state"))) is not None
    assert (f"other programs that run as {name}" in caplog.text) == (name == "nobody")
