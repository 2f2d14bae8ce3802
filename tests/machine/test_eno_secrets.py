"""Keys go with their connection, and do not wait for a garbage collection (RFC 8547 section 5)."""

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from tcpcryptd.core.session_cache import SessionCache
from tcpcryptd.crypto import frame_aead
from tcpcryptd.crypto.frame_aead import FrameProtection
from tcpcryptd.eno import EnoConfig
from tcpcryptd.eno.handshake.exchange import AwaitInit1, InitSent
from tcpcryptd.eno.handshake.session import SessionSecret
from tcpcryptd.eno.stream.channel import Channel
from tests.machine.world import ENO, LIMIT, World

pytestmark = pytest.mark.interpreted


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def watched(monkeypatch: pytest.MonkeyPatch, *kinds: type) -> list[weakref.ref[Any]]:
    """References to all objects of these kinds that are made."""
    made: list[weakref.ref[Any]] = []
    for kind in kinds:
        initialise = kind.__init__  # type: ignore[misc]

        def note(self: object, *arguments: Any, initialise: Any = initialise, **named: Any) -> None:
            made.append(weakref.ref(self))
            initialise(self, *arguments, **named)

        monkeypatch.setattr(kind, "__init__", note)
    return made


@pytest.mark.usefixtures("no_collection")
def test_private_keys_go_with_the_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    made = watched(monkeypatch, InitSent, AwaitInit1)
    _world, *_ = World.opened(ENO)
    assert len(made) == 2
    assert [each() for each in made] == [None, None]


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("end", ["closed", "reset", "stopped"])
def test_keys_go_with_the_connection(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    made = watched(monkeypatch, Channel)
    world, client, server = World.opened(ENO)
    assert len(made) == 2
    assert all(each() is not None for each in made)
    if end == "closed":
        world.close(client, server)
    elif end == "reset":
        client.abort()
    else:
        world.client.shut_down_engine()
    world.clock.run_for(LIMIT * 2)
    assert [each() for each in made] == [None, None]


@pytest.mark.usefixtures("no_collection")
def test_old_keys_go_with_their_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no frame can come any more that needs them (RFC 8548 section 3.8)."""
    world = World.encrypting(ENO)
    # Weak references need a slot of their own.
    made: list[weakref.ref[Any]] = []

    class Watched(FrameProtection):
        __slots__ = ("__weakref__",)

        def __init__(self, *arguments: Any) -> None:
            made.append(weakref.ref(self))
            super().__init__(*arguments)

    monkeypatch.setattr(frame_aead, "FrameProtection", Watched)
    client, server = world.connect()
    world.exchange(client, server)
    assert [each() is not None for each in made] == [True] * 4
    assert world.client.daemon.rekey(*world.ends(client))
    world.exchange(client, server)
    assert [each() is not None for each in made] == [False] * 4 + [True] * 4


def test_nothing_secret_is_shown() -> None:
    world, *_ = World.opened(ENO)
    cache = world.client.daemon._services.sessions
    assert isinstance(cache, SessionCache)
    config = EnoConfig()
    kept = [
        SessionSecret.decode(session, config.schemes, lambda _: config.aeads) for _, session in cache._entries.values()
    ]
    secrets = [each for each in kept if each is not None]
    assert secrets
    shown = "".join(map(repr, (*secrets, *world.client.daemon.connections(), *world.client.events)))
    assert "secret" not in shown
    assert not any(each.secret.hex() in shown or repr(each.secret) in shown for each in secrets)
