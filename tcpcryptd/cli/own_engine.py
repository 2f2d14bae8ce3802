"""An engine with its protocols by the settings, and the settings that can change while it runs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tcpcryptd.cli.config import Settings, read_value
from tcpcryptd.cli.destinations import Destinations, LiveEngineConfig
from tcpcryptd.cli.identities import Identities
from tcpcryptd.cli.log import set_up_log
from tcpcryptd.cli.options import ANSWERS, OFFERS, OPTIONS
from tcpcryptd.cli.protocols import Protocols
from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.session_cache import SessionStore
from tcpcryptd.crypt import CryptConfig
from tcpcryptd.crypto.key_log import KeyLog
from tcpcryptd.crypto.key_pool import KeyPool
from tcpcryptd.eno import EnoConfig
from tcpcryptd.eno.cutting import Cutting
from tcpcryptd.netio.kernel.path_mtu import RecentPathMtu, path_mtu
from tcpcryptd.netio.kernel.queueing import QueueingDisciplines


class OwnEngine:
    """The engine of this process. Making it takes a fraction of a second, for the first key pairs."""

    def __init__(
        self,
        settings: Settings,
        take_keys: KeyLog | None,
        sessions: SessionStore | None = None,
        identities: Identities | None = None,
    ) -> None:
        """`sessions`: what engines of several processes share."""
        self._settings = settings
        self._identities = identities
        kem_keys = KeyPool()
        authenticator = identities.authenticator if identities is not None else None
        crypt = CryptConfig(
            whole_packets=settings.whole_packets, kem_keys=kem_keys, key_log=take_keys, authenticator=authenticator
        )
        eno = EnoConfig(
            resumption_nonce_length=settings.resumption_nonce,
            kem_keys=kem_keys,
            key_log=take_keys,
            cutting=Cutting(QueueingDisciplines().treat_alike),
        )
        if authenticator is not None:
            eno = eno.with_identities(authenticator)
        self._protocols = Protocols(crypt, eno, settings.suites)
        self.destinations = Destinations(settings.require)
        self.post_quantum = Destinations(settings.require_post_quantum)
        self.jobs = self._protocols.key_jobs()
        self.identified = Destinations(settings.require_identity)
        config = engine_config(settings, self.destinations, self.post_quantum, self.identified)
        self.engine = Engine(
            config,
            self._protocols.factories,
            path_mtu=path_mtu,
            sessions=sessions,
            stock=kem_keys,
            recent_path_mtu=RecentPathMtu(),
        )

    def apply(self, new: Settings) -> None:
        """Applies the settings that can be reloaded, for connections that begin later."""
        self.destinations.replace(new.require)
        self.post_quantum.replace(new.require_post_quantum)
        self.identified.replace(new.require_identity)
        if self._identities is not None and self._identities.reload():
            # What is left to be resumed was agreed on with peers that may be believed no more.
            self.engine.flush_sessions()
            self.engine.review_identities(self._identities.authenticator.recall)
        if new.suites != self._settings.suites:
            self._protocols.choose_suites(new.suites)
            # No session may bring back a suite that is not wanted any more.
            self.engine.flush_sessions()
        if new.verbose != self._settings.verbose:
            set_up_log(new.verbose)
        self._settings = new

    def adjust(self, values: Mapping[str, Any]) -> None:
        """The same, as `reloadable_values` tells it to another process."""
        options = {option.name: option for option in OPTIONS}
        read: dict[str, Any] = {
            # What is doubtful about an empty list was said when the file was read.
            options[name].key: read_value(options[name], value, "reload") if value != [] else ()
            for name, value in values.items()
        }
        self.apply(replace(self._settings, **read))


def engine_config(
    settings: Settings, destinations: Destinations, post_quantum: Destinations, identified: Destinations
) -> EngineConfig:
    """The engine's part of the settings."""
    offers, answers = OFFERS[settings.protocol], ANSWERS[settings.answer]
    config = LiveEngineConfig(
        offers=offers,
        answers=answers,
        destinations=destinations,
        post_quantum=post_quantum,
        identified=identified,
    )
    return config if settings.cache else replace(config, max_sessions=0)


def reloadable_values(settings: Settings) -> dict[str, bool | list[str]]:
    """By the options' names, as they could stand in a file."""
    values: dict[str, bool | list[str]] = {}
    for option in OPTIONS:
        if option.reloadable:
            value = getattr(settings, option.key)
            values[option.name] = [str(each) for each in value] if option.repeated else value
    return values
