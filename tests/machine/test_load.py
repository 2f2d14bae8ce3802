"""A day of connections, and a flood: memory is bounded, and public-key work is for peers that proved their address."""

import gc
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.verdict import Action, Direction
from tcpcryptd.crypt.constants import Opcode
from tcpcryptd.crypt.handshake.messages import Init1
from tcpcryptd.crypt.option import HELLO, Suboption, encode
from tcpcryptd.crypto.ecdhe import X25519
from tcpcryptd.crypto.hybrid import MLKEM768_X25519
from tcpcryptd.crypto.key_agreement import KeyAgreement, PrivateKey
from tcpcryptd.crypto.key_scheme import KeyPair, KeyScheme
from tcpcryptd.crypto.suites import AES_256_GCM_SIV, MLKEM768_X25519_HPKE, RSA_2048, X25519_HPKE
from tcpcryptd.eno import EnoConfig
from tcpcryptd.eno.constants import NON_SYN
from tcpcryptd.eno.handshake import init_messages as eno_messages
from tcpcryptd.eno.handshake import option, tep
from tcpcryptd.wire.options import pad
from tcpcryptd.wire.segment import ACK, PSH, SYN, make, reverse_key
from tcpcryptd.wire.sequence import add
from tests.machine.endpoint import Behaviour
from tests.machine.link import Conditions, view
from tests.machine.test_limits import flood_syn
from tests.machine.world import ALL, ENO, LIMIT, Suite, World, make_engine, text

HOURS = 24
INTERVAL = 90.0
"""Seconds between two connections of the day."""
SETTLED = 8
"""Hours after which all that is kept has reached its level: connections that are over, as many as may be ready."""
FLOOD = 5_000
MAX_OPENING = 100


@dataclass
class Counting:
    """A key agreement that counts what costs time."""

    inner: KeyAgreement
    calls: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def ephemeral(self) -> bool:
        return self.inner.ephemeral

    @property
    def post_quantum(self) -> bool:
        return self.inner.post_quantum

    def generate(self) -> PrivateKey:
        self.calls["generate"] += 1
        return self.inner.generate()

    def encapsulate(self, public_key: bytes, nonce: bytes) -> bytes:
        self.calls["encapsulate"] += 1
        return self.inner.encapsulate(public_key, nonce)


def live_objects() -> Counter[str]:
    """How many objects of each of the package's classes there are."""
    gc.collect()
    # Some classes have a `__module__` that is no text.
    kinds = (type(each) for each in gc.get_objects())
    return Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith("tcpcryptd."))


def talk(world: World, random: Random, port: int) -> None:
    """One connection as they come: most are closed, some reset, some stay half closed."""
    behaviour = Behaviour(timestamps=random.random() < 0.7)
    client, server = world.connect(port=port, behaviour=behaviour)
    world.exchange(client, server, random.randrange(1, 4000))
    ending = random.random()
    if ending < 0.8:
        world.close(client, server)
    elif ending < 0.95:
        client.abort()
    else:
        # The one end closes, and both hosts vanish; with no sign of an end the keys are kept for days.
        client.shut_down()
        world.clock.run_for(1)
        client.stack.forget(client)
        server.stack.forget(server)


@pytest.mark.parametrize(("suite", "secret"), [(ALL, "Session"), (ENO, "Session")], ids=["crypt", "eno"])
def test_a_day_leaves_nothing_behind(suite: Suite, secret: str) -> None:
    """With a connection that stays open for the whole day, and one every ninety seconds beside it."""
    world = World.encrypting(suite, conditions=Conditions(loss=0.01, delay=0.01))
    random = Random(24)
    lasting = world.connect(port=1000)
    began, settled, ports = world.clock.now, Counter[str](), 0
    while world.clock.now < began + HOURS * 3600:
        ports += 1
        talk(world, random, 10_000 + ports % 50_000)
        world.clock.run_for(INTERVAL)
        if ports % 10 == 0:
            world.exchange(*lasting, 2000)
        for each in lasting:
            each.received.clear()
        for host in world.hosts:
            assert host.daemon.counters()["connections"] < 100
            world.assert_healthy()
            host.events.clear()
            del host.stack.accepted[1:]
            host.tracked = {key: entry for key, entry in host.tracked.items() if key in host.stack.sockets}
        world.link.log.clear()
        if not settled and world.clock.now > began + SETTLED * 3600:
            settled = live_objects()
    grown = live_objects() - settled
    assert settled[secret] > 0
    assert {name: count for name, count in grown.items() if count > 40} == {}
    world.exchange(*lasting, 2000)
    info = world.client.daemon.connection(*world.ends(lasting[0]))
    assert info is not None
    assert info.generation >= HOURS // 2


MECHANISMS = (MLKEM768_X25519_HPKE, X25519_HPKE, RSA_2048)


def server_with(agreements: list[Counting]) -> Engine:
    algorithms = tuple(
        replace(algorithm, agreement=counting) for algorithm, counting in zip(MECHANISMS, agreements, strict=True)
    )
    suite = Suite(algorithms, ALL.symmetric)
    return make_engine("flooded", suite, EngineConfig(max_opening=MAX_OPENING, max_connections=300))


@pytest.mark.parametrize("hello", [HELLO, Suboption(Opcode.NEXTK1, bytes(9))], ids=["HELLO", "NEXTK1"])
def test_a_flood_costs_no_public_key_work(hello: Suboption) -> None:
    """The kernel answers every SYN; the sender does not see the answers and guesses what to acknowledge."""
    agreements = [Counting(each.agreement) for each in MECHANISMS]
    engine = server_with(agreements)
    world = World(client=make_engine("client"), server=engine)
    open_before = world.connect(port=30_000)
    world.exchange(*open_before)
    spent = [Counter(each.calls) for each in agreements]
    random = Random(1)
    init1 = [
        Init1(AES_256_GCM_SIV.offer, bytes(16), each.spec, each.agreement.generate().public_bytes).encode()
        for each in (MLKEM768_X25519_HPKE, X25519_HPKE)
    ]
    for number in range(FLOOD):
        syn = flood_syn(number, encode(hello))
        action, *_ = engine.handle_packet(syn, Direction.IN, world.clock.now)
        assert action is not Action.DROP
        segment = view(syn)
        flow = segment.addresses + syn[segment.offset : segment.offset + 4]
        answer = make(
            reverse_key(flow),
            sequence=random.randrange(1 << 32),
            acknowledgment=add(number, 1),
            flags=SYN | ACK,
            window=1000,
            option_area=b"\x02\x04\x05\xb4",
        )
        engine.handle_packet(answer, Direction.OUT, world.clock.now)
        guess = make(
            flow,
            sequence=add(number, 1),
            acknowledgment=random.randrange(1 << 32),
            flags=ACK | PSH,
            window=1000,
            option_area=pad(encode(Suboption(Opcode.INIT1))),
            payload=init1[number % 2],
        )
        assert engine.handle_packet(guess, Direction.IN, world.clock.now)[0] is Action.DROP
        counters = engine.counters()
        assert counters["connections"] - counters["encrypted"] <= MAX_OPENING
    assert [each.calls for each in agreements] == spent
    assert len(engine.packets_to_inject()) == 0
    world.exchange(*open_before)
    engine.flush_sessions()
    fresh = world.open(port=30_001, data=text(500))
    assert world.clock.run_until(lambda: fresh.all_acknowledged, LIMIT)
    assert agreements[0].calls["encapsulate"] == spent[0]["encapsulate"] + 1
    world.assert_nothing_in_clear()


@pytest.mark.parametrize("agreement", [X25519, MLKEM768_X25519], ids=lambda each: each.name)
def test_a_flood_with_tcp_eno_costs_no_public_key_work(agreement: KeyScheme) -> None:
    """The same, with an Init1 for a guess."""
    calls = Counter[str]()

    def generate() -> KeyPair:
        calls["generate"] += 1
        return agreement.generate()

    def respond(public: bytes) -> tuple[bytes, bytes]:
        calls["answer"] += 1
        return agreement.answer(public)

    scheme = replace(agreement, generate=generate, answer=respond)
    suite = replace(ENO, eno=EnoConfig((scheme,)))
    engine = make_engine("flooded", suite, EngineConfig(max_opening=MAX_OPENING, max_connections=300))
    world = World(client=make_engine("client", ENO), server=engine)
    open_before = world.connect(port=30_000)
    world.exchange(*open_before)
    assert calls == {"answer": 1}
    random = Random(1)
    extensions: dict[int, bytes] | None = {} if agreement.is_extensible else None
    init1 = eno_messages.Init1((0x0001,), bytes(32), agreement.generate().public, extensions).encode()
    offer = option.build(0, tep.fresh((agreement.code,)), ordered=True).raw
    for number in range(FLOOD):
        syn = flood_syn(number, offer)
        assert engine.handle_packet(syn, Direction.IN, world.clock.now)[0] is not Action.DROP
        segment = view(syn)
        flow = segment.addresses + syn[segment.offset : segment.offset + 4]
        common: dict[str, Any] = {"window": 1000, "option_area": b"\x02\x04\x05\xb4"}
        answer = make(
            reverse_key(flow),
            sequence=random.randrange(1 << 32),
            acknowledgment=add(number, 1),
            flags=SYN | ACK,
            **common,
        )
        engine.handle_packet(answer, Direction.OUT, world.clock.now)
        guess = make(
            flow,
            sequence=add(number, 1),
            acknowledgment=random.randrange(1 << 32),
            flags=ACK | PSH,
            window=1000,
            option_area=pad(NON_SYN),
            payload=init1,
        )
        assert engine.handle_packet(guess, Direction.IN, world.clock.now)[0] is Action.DROP
        counters = engine.counters()
        assert counters["connections"] - counters["encrypted"] <= MAX_OPENING
    assert calls == {"answer": 1}
    world.exchange(*open_before)
    engine.flush_sessions()
    fresh = world.open(port=30_001, data=text(500))
    assert world.clock.run_until(lambda: fresh.all_acknowledged, LIMIT)
    assert calls == {"answer": 2}
    world.assert_nothing_in_clear()
