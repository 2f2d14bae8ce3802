"""Wrong and altered Init messages of MLKEM768-X25519, and the work that one makes (docs/eno.md)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tcpcryptd.crypto import mlkem768_x25519 as kem
from tcpcryptd.crypto.hybrid import MLKEM768_X25519
from tcpcryptd.crypto.key_pool import KeyPool
from tcpcryptd.crypto.key_scheme import KeyPair
from tcpcryptd.eno import EnoConfig
from tcpcryptd.eno.constants import ENO as ENO_KIND
from tcpcryptd.eno.handshake import option
from tcpcryptd.eno.handshake.init_messages import Init1, Init2
from tcpcryptd.eno.limits import INIT1_PATIENCE
from tcpcryptd.wire import extension, options
from tcpcryptd.wire.segment import SYN
from tests.machine.link import Crossing, Filter, sent_by
from tests.machine.test_eno_exchange import opened, rewritten
from tests.machine.world import ENO, World, make_engine, text

HYBRID = replace(ENO, eno=EnoConfig((MLKEM768_X25519,)))


def ended(data: bytes) -> Callable[[bytes], bytes]:
    """Another extension field, with the message's length set right."""

    def change(message: bytes) -> bytes:
        changed = message[:-2] + data
        return changed[:4] + len(changed).to_bytes(4, "big") + changed[8:]

    return change


def filled(at: int, size: int, value: int = 0) -> Callable[[bytes], bytes]:
    """Bytes counted from the end of the key or ciphertext, which the empty extension field follows."""

    def change(message: bytes) -> bytes:
        start = len(message) - 2 - at
        return message[:start] + bytes((value,)) * size + message[start + size :]

    return change


def flipped(at: int) -> Callable[[bytes], bytes]:
    """Another byte than it was, at a place counted in the same way."""

    def change(message: bytes) -> bytes:
        start = len(message) - 2 - at
        return message[:start] + bytes((message[start] ^ 0x55,)) + message[start + 1 :]

    return change


def cut(count: int) -> Callable[[bytes], bytes]:
    """The message without its last bytes."""
    return lambda message: message[:4] + (len(message) - count).to_bytes(4, "big") + message[8:-count]


ABORTS = [
    ("Init1", "an X25519 half of zeros", filled(32, 32)),
    ("Init1", "a coefficient that is not reduced", filled(kem.PUBLIC_KEY_LENGTH, 3, 0xFF)),
    ("Init1", "a short key", cut(3)),
    ("Init1", "a field that is cut", ended(b"\0\4\0\1")),
    ("Init1", "a critical extension", ended(extension.encode({0x8001: b"x"}))),
    (
        "Init1",
        "no extension field",
        cut(2),
    ),
    ("Init2", "an X25519 half of zeros", filled(32, 32)),
    ("Init2", "zeros", filled(kem.CIPHERTEXT_LENGTH, kem.CIPHERTEXT_LENGTH)),
    (
        "Init2",
        "a short ciphertext",
        cut(3),
    ),
    ("Init2", "a critical extension", ended(extension.encode({0x8001: b"x"}))),
    ("Init2", "a field that is too long", ended(b"\xff\xff" + bytes(100))),
]
FAILS = [
    ("Init1", "another seed of the ML-KEM key", flipped(64)),
    ("Init1", "another X25519 half", flipped(20)),
    ("Init1", "zeros in the ML-KEM half", filled(kem.PUBLIC_KEY_LENGTH, 1184)),
    ("Init2", "zeros in the ML-KEM half", filled(kem.CIPHERTEXT_LENGTH, 1088)),
    ("Init2", "a bit of the ML-KEM half", flipped(kem.CIPHERTEXT_LENGTH - 500)),
    ("Init2", "another X25519 half", flipped(20)),
    ("Init1", "an extension that is ignored", ended(extension.encode({1: b"x"}))),
    ("Init2", "an extension that is ignored", ended(extension.encode({1: b"x"}))),
]


def ids(cases: list[tuple[str, str, Callable[[bytes], bytes]]]) -> list[str]:
    return [f"{message}: {what}" for message, what, _ in cases]


@pytest.mark.parametrize(("message", "what", "change"), ABORTS, ids=ids(ABORTS))
def test_wrong_messages_abort(message: str, what: str, change: Callable[[bytes], bytes]) -> None:
    world = World.encrypting(HYBRID, filters=[rewritten(message, change)])
    client = world.open(data=text(2000))
    assert world.clock.run_until(lambda: client.error == "reset", 2), what
    world.clock.run_for(1)
    assert not client.peer_finished
    assert not world.server.stack.sockets
    assert all(not server.received and not server.peer_finished for server in world.server.stack.accepted)
    host = world.server if message == "Init1" else world.client
    assert host.daemon.counters()[f"bad_{message.lower()}"] == 1
    world.assert_nothing_in_clear()
    world.assert_healthy()


@pytest.mark.parametrize(("message", "what", "change"), FAILS, ids=ids(FAILS))
def test_messages_that_were_altered_let_no_data_through(
    message: str, what: str, change: Callable[[bytes], bytes]
) -> None:
    """ML-KEM rejects implicitly, and the messages enter the keys as they were sent: frames fail at both ends."""
    world = World.encrypting(HYBRID, filters=[rewritten(message, change)])
    client = world.open(data=text(2000))
    assert world.clock.run_until(lambda: bool(client.error), 300), what
    world.clock.run_for(INIT1_PATIENCE + 60)
    servers = world.server.stack.accepted
    assert not client.peer_finished
    assert all(not server.received and not server.peer_finished for server in servers)
    found = world.session_ids()
    assert None in found or found[0] != found[1]
    world.assert_nothing_in_clear()


@pytest.mark.parametrize("sender", ["client", "server"])
def test_the_offer_is_taken_out_on_the_way(sender: str) -> None:
    """Who takes the KEM out of one SYN gets keys that differ: the transcript has both options as they were sent."""

    def stripped(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        found = option.read(segment.options)
        if found is None or not segment.flags & SYN or not sent_by(sender)(crossing):
            return [crossing.packet]
        value = b"\x23" if sender == "client" else b"\x01\x23"
        others = [each for each in segment.options if each[0] != ENO_KIND]
        area = b"".join(options.encode(*each) for each in others) + options.encode(ENO_KIND, value)
        return [segment.edited(option_area=options.pad(area))]

    world = World.encrypting(ENO, filters=[stripped])
    client = world.open(data=text(2000))
    assert world.clock.run_until(lambda: bool(client.error), 300)
    assert all(not server.received for server in world.server.stack.accepted)
    world.assert_nothing_in_clear()


def test_extensions_of_a_later_version_are_ignored_and_enter_the_keys() -> None:
    with pytest.MonkeyPatch.context() as patch:
        for message in (Init1, Init2):
            encode = message.encode

            def longer(self: object, encode: Callable[[object], bytes] = encode) -> bytes:  # type: ignore[assignment]
                return ended(extension.encode({7: bytes(3000)}) + b"and what is ignored")(encode(self))

            patch.setattr(message, "encode", longer)
        opened(World.encrypting(HYBRID))


class Counting:
    """Operations of the KEM by one engine."""

    def __init__(self, name: str) -> None:
        self.encapsulated = 0
        self.pool = KeyPool(4)
        while self.pool.is_short():
            self.pool.refill()
        scheme = replace(MLKEM768_X25519, answer=self._answer, generate=self._generate)
        self.engine = make_engine(name, replace(ENO, eno=EnoConfig((scheme,), kem_keys=self.pool)))

    def _answer(self, public: bytes) -> tuple[bytes, bytes]:
        self.encapsulated += 1
        return MLKEM768_X25519.answer(public)

    def _generate(self) -> KeyPair:
        raise AssertionError("not from the stock")


def bad(message: bytes) -> bytes:
    return filled(32, 32)(message)


@pytest.mark.parametrize("filters", [[], [rewritten("Init1", bad)]], ids=["good", "bad"])
def test_an_init1_makes_one_operation(filters: list[Filter]) -> None:
    counting = Counting("server")
    world = World(client=make_engine("client", HYBRID), server=counting.engine, filters=filters)
    world.open(data=text(500))
    world.clock.run_for(20)
    assert counting.encapsulated == 1
