import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network

import pytest

from tcpcryptd.cli.config import ConfigError, Settings
from tcpcryptd.cli.destinations import LiveEngineConfig
from tcpcryptd.cli.options import OPTIONS
from tcpcryptd.cli.own_engine import OwnEngine, reloadable_values
from tcpcryptd.cli.protocols import Protocols
from tcpcryptd.cli.reload import Reloader
from tcpcryptd.crypt import CryptConfig
from tcpcryptd.eno import EnoConfig

INSIDE, OUTSIDE = "192.0.2.7", "198.51.100.7"
NETWORK = ip_network("192.0.2.0/24")


class Rig:
    """A reloader that finds the settings of the test."""

    def __init__(self, settings: Settings) -> None:
        self.found: Settings | ConfigError = settings
        self.own = OwnEngine(settings, None)
        self.reloader = Reloader(settings, self._load, self.own.apply)

    def _load(self) -> Settings:
        if isinstance(self.found, ConfigError):
            raise self.found
        return self.found

    def reload(self, found: Settings | ConfigError) -> None:
        self.found = found
        self.reloader.reload()


def test_what_can_be_reloaded() -> None:
    assert {option.name for option in OPTIONS if option.reloadable} == {
        *("require", "require-identity", "require-post-quantum", "suites", "verbose")
    }


def test_required_destinations() -> None:
    rig = Rig(Settings())
    config = replace(LiveEngineConfig(destinations=rig.own.destinations), max_sessions=0)
    assert not config.requires(INSIDE)
    rig.reload(Settings(require=(NETWORK,)))
    assert config.requires(INSIDE)
    assert not config.requires(OUTSIDE)
    rig.reload(Settings())
    assert not config.requires(INSIDE)


def test_destinations_that_need_post_quantum_keys() -> None:
    rig = Rig(Settings())
    config = LiveEngineConfig(destinations=rig.own.destinations, post_quantum=rig.own.post_quantum)
    assert not config.requires_post_quantum(INSIDE)
    rig.reload(Settings(require_post_quantum=(NETWORK,)))
    assert config.requires_post_quantum(INSIDE)
    assert config.requires(INSIDE)
    assert not config.requires(OUTSIDE)
    rig.reload(Settings(require=(NETWORK,)))
    assert config.requires(INSIDE)
    assert not config.requires_post_quantum(INSIDE)


def test_suites_change_only_when_they_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(Settings(suites=("RSA-2048",)))
    chosen: list[Sequence[str]] = []
    monkeypatch.setattr(Protocols, "choose_suites", lambda _, names: chosen.append(names))
    rig.reload(Settings(suites=("RSA-2048",), verbose=True))
    assert chosen == []
    rig.reload(Settings(suites=("X25519-HPKE",), verbose=True))
    assert chosen == [("X25519-HPKE",)]


def test_the_log_level(capfd: pytest.CaptureFixture[str]) -> None:
    rig = Rig(Settings())
    rig.reload(Settings(verbose=True))
    assert logging.getLogger("tcpcryptd").level == logging.DEBUG
    assert "changed: verbose" in capfd.readouterr().err
    rig.reload(Settings())
    assert logging.getLogger("tcpcryptd").level == logging.INFO


def test_what_needs_a_restart_is_named_until_it_is_taken_back(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(Settings())
    for port, warnings in (((80,), 1), ((80,), 2), ((), 2)):
        rig.reload(Settings(port=port))
        said = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
        assert said == ["changed, but needs a restart: port"] * warnings


def test_a_wrong_configuration_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(Settings(require=(NETWORK,)))
    rig.reload(ConfigError("x.toml: not TOML"))
    assert rig.own.destinations.include(INSIDE)
    assert caplog.records[-1].getMessage() == "x.toml: not TOML; all settings stay as they were"


def test_protocols_keep_their_identity_and_keys() -> None:
    protocols = Protocols(CryptConfig(), EnoConfig(), ["X25519-HPKE"])
    before = protocols.factories
    old_offers = [each.offer for each in before]
    protocols.choose_suites(["RSA-2048"])
    assert protocols.factories == before
    assert [each.name for each in before] == ["crypt", "eno"]
    assert all(each.offer != old for each, old in zip(before, old_offers, strict=True))
    (job,) = protocols.key_jobs()
    assert job.name == "RSA"


def test_another_process_understands_the_values(caplog: pytest.LogCaptureFixture) -> None:
    own = OwnEngine(Settings(require=(NETWORK,)), None)
    own.adjust(json.loads(json.dumps(reloadable_values(Settings(verbose=True, suites=("RSA-2048",))))))
    assert not own.destinations.include(INSIDE)
    assert logging.getLogger("tcpcryptd").level == logging.DEBUG
    own.adjust(json.loads(json.dumps(reloadable_values(Settings(require=(NETWORK,))))))
    assert own.destinations.include(INSIDE)
    assert logging.getLogger("tcpcryptd").level == logging.INFO
    # What is doubtful about them was said where they were read.
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
