"""Somebody on the path who has an identity of its own, and everything that was ever said.

Whatever it does with proofs: nobody takes it for another, and where identity is required no byte of an application's
passes.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from tcpcryptd.core.protocol import Outcome
from tcpcryptd.crypto.ecdhe import X25519_EXTENSIBLE
from tcpcryptd.eno.constants import IDENTITY, INIT1_MAGIC, INIT2_MAGIC
from tcpcryptd.eno.handshake.init_messages import Init1, Init2
from tcpcryptd.identity.proof import HostKey, Part, Role
from tcpcryptd.identity.public_key import key_line
from tests.machine.identities import (
    CLIENT,
    KEYS,
    SEEDS,
    SERVER,
    authenticator,
    engine,
    names,
    outcomes,
    refusals,
)
from tests.machine.link import Crossing, Filter
from tests.machine.world import MARKER, World, text

Message = Init1 | Init2
Change = Callable[["Attack", str, Message, bytes], Message | bytes]
"""Of what a host has sent: the attacker, 'Init1' or 'Init2', the message, and its bytes; what goes on."""
LENGTH = X25519_EXTENSIBLE.public_length
ROLES = {"Init1": Role.INITIATOR, "Init2": Role.RESPONDER}


class Attack:
    """Changes the messages of one session; `earlier` are those of another session between the same hosts."""

    def __init__(self, which: str, change: Change, earlier: Mapping[str, bytes] | None = None) -> None:
        self.which = which
        self.change = change
        self.earlier = earlier or {}
        self.seen: dict[str, bytes] = {}
        self.transcript = b""
        self.key = HostKey(SEEDS["mallory"])

    def filter(self, crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if segment.flags & 2:
            option = segment.option(69)
            if option is not None:
                self.transcript += bytes((69, len(option) + 2)) + option
            return [crossing.packet]
        name, kind, message = read(segment.payload)
        if kind is None:
            return [crossing.packet]
        self.seen[name] = segment.payload
        if name != self.which:
            return [crossing.packet]
        changed = self.change(self, name, message, segment.payload)
        payload = changed if isinstance(changed, bytes) else changed.encode()
        return [segment.edited(payload=payload)]


def read(payload: bytes) -> tuple[str, type[Message] | None, Message]:
    for name, magic, kind in (("Init1", INIT1_MAGIC, Init1), ("Init2", INIT2_MAGIC, Init2)):
        if payload[:4] == magic.to_bytes(4, "big"):
            found = kind.read(payload, LENGTH, extensible=True)
            assert found is not None
            return name, kind, found[0]
    return "", None, Init2(0, b"", b"")


def carrying(message: Message, proof: bytes | None) -> Message:
    return replace(message, extensions={} if proof is None else {IDENTITY: proof})


def own_proof(attack: Attack, name: str, message: Message) -> bytes:
    """The attacker's, over the message with its own key, as it would make it for a session of its own."""
    other = attack.seen.get("Init1", b"") if name == "Init2" else b""
    unsigned = carrying(message, attack.key.unsigned).encode()
    return attack.key.prove(Part(b"eno", ROLES[name], attack.transcript, unsigned, other))


def proof_of(payload: bytes) -> bytes:
    extensions = read(payload)[2].extensions
    assert extensions is not None
    return extensions[IDENTITY]


def strip(attack: Attack, name: str, message: Message, payload: bytes) -> Message:
    return carrying(message, None)


def replace_proof(attack: Attack, name: str, message: Message, payload: bytes) -> Message:
    return carrying(message, own_proof(attack, name, message))


def replace_key_under_the_signature(attack: Attack, name: str, message: Message, payload: bytes) -> Message:
    proof = proof_of(payload)
    return carrying(message, proof[:65] + KEYS["mallory"])


def replace_ephemeral_key(attack: Attack, name: str, message: Message, payload: bytes) -> Message:
    public = X25519_EXTENSIBLE.generate().public
    return replace(carrying(message, proof_of(payload)), public=public)


def replace_nonce(attack: Attack, name: str, message: Message, payload: bytes) -> Message:
    return replace(carrying(message, proof_of(payload)), nonce=bytes(32))


def replay_message(attack: Attack, name: str, message: Message, payload: bytes) -> bytes:
    return attack.earlier[name]


def replay_proof(attack: Attack, name: str, message: Message, payload: bytes) -> Message:
    return carrying(message, proof_of(attack.earlier[name]))


def other_roles_proof(attack: Attack, name: str, message: Message, payload: bytes) -> Message:
    """The client's own comes back to it as the server's."""
    other = "Init1" if name == "Init2" else "Init2"
    return carrying(message, proof_of(attack.seen.get(other) or attack.earlier[other]))


def proof_twice(attack: Attack, name: str, message: Message, payload: bytes) -> bytes:
    """Behind what the length counts for."""
    proof = proof_of(payload)
    return payload[:4] + (len(payload) + len(proof)).to_bytes(4, "big") + payload[8:] + proof


CHANGES = (
    *(strip, replace_proof, replace_key_under_the_signature, replace_ephemeral_key, replace_nonce),
    *(replay_message, replay_proof, other_roles_proof, proof_twice),
)


def world_of(filters: list[Filter], *, requires: bool, seed: int) -> World:
    return World(
        client=engine(authenticator("client"), f"c{seed}", requires=requires, classical=True),
        server=engine(authenticator("server"), f"s{seed}", requires=requires, classical=True),
        filters=filters,
    )


def recorded(*, requires: bool) -> Mapping[str, bytes]:
    """What an earlier session between the same hosts has said, after the same SYNs."""
    attack = Attack("", strip)
    world = world_of([attack.filter], requires=requires, seed=1)
    client, server = world.connect()
    world.exchange(client, server)
    assert set(attack.seen) == {"Init1", "Init2"}
    return attack.seen


@pytest.mark.parametrize("requires", [False, True])
@pytest.mark.parametrize("which", ["Init1", "Init2"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_proofs_that_somebody_has_changed(change: Change, which: str, requires: bool) -> None:
    attack = Attack(which, change, recorded(requires=requires))
    world = world_of([attack.filter], requires=requires, seed=2)
    client = world.open()
    client.write(text(2_000, b"request "))
    world.clock.run_for(0.3)
    for server in world.server.stack.accepted:
        server.write(text(2_000, b"response "))
    world.clock.run_for(300)
    assert attack.seen, world.trace()
    # Each host takes the other for who it is, or for nobody.
    assert set(names([world.client])) <= {"server", ""}
    assert set(names([world.server])) <= {"client", ""}
    # The keys come from both messages as they were sent and as they came: nothing is delivered.
    assert not client.received, world.trace()
    assert all(not server.received for server in world.server.stack.accepted)
    victim = world.server if which == "Init1" else world.client
    assert Outcome.AUTHENTICATED not in [outcome for outcome, _ in outcomes(victim)]
    if requires and change is not replay_message:
        assert refusals(victim), world.trace()
    world.assert_nothing_in_clear()


def test_a_replayed_client_is_never_authenticated() -> None:
    """The proof in a recorded Init1 is right; who repeats it does not have the keys."""
    attack = Attack("Init1", replay_message, recorded(requires=True))
    world = world_of([attack.filter], requires=True, seed=3)
    client = world.open()
    client.write(text(2_000))
    world.clock.run_for(200)
    assert attack.seen
    assert client.error is not None
    assert refusals(world.server) == []
    assert outcomes(world.server) == []
    assert all(not each.received for each in world.server.stack.accepted)


@pytest.mark.parametrize("requires", [False, True])
@pytest.mark.parametrize("as_client", [False, True])
def test_a_daemon_in_the_others_place(requires: bool, as_client: bool) -> None:
    mallory, victim = authenticator("mallory", ""), authenticator("server" if as_client else "client")
    engines = [engine(mallory, 1), engine(victim, 2, requires=requires)]
    client, server = engines if as_client else engines[::-1]
    world = World(client=client, server=server)
    socket = world.open()
    socket.write(text(2_000))
    world.clock.run_for(100)
    assert socket.error is not None
    assert not socket.received
    assert all(not each.received for each in world.server.stack.accepted)
    assert len(refusals(world.server if as_client else world.client)) >= 1
    world.assert_nothing_in_clear()


@pytest.mark.parametrize("requires", [False, True])
def test_without_an_identity_in_the_others_place(requires: bool) -> None:
    """Who strips the identity is let in where nothing is required, and is not taken for anybody."""
    world = World(client=engine(authenticator("client"), 1, requires=requires), server=engine(None, 2))
    client = world.open()
    client.write(text(2_000))
    world.clock.run_for(100)
    assert (client.error is not None) is requires
    assert names([world.client]) == ([] if requires else [""])
    if requires:
        assert all(not each.received for each in world.server.stack.accepted)


@pytest.mark.parametrize("requires", [False, True])
@pytest.mark.parametrize("sender", ["client", "server"])
def test_a_stripped_offer(requires: bool, sender: str) -> None:
    """Another TEP is left when the experiment is taken out of a SYN, and plain TCP when all are."""

    def without_experiment(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if not segment.flags & 2 or crossing.sender != sender:
            return [crossing.packet]
        area = segment.option_area.replace(b"\x5f\x7b", b"\x5f\x7c")
        return [segment.edited(option_area=area)]

    world = World(
        client=engine(authenticator("client"), 1, requires=requires),
        server=engine(authenticator("server"), 2, requires=requires),
        filters=[without_experiment],
    )
    client = world.open()
    client.write(text(2_000))
    world.clock.run_for(100)
    if requires:
        assert client.error is not None, world.trace()
        assert all(not each.received for each in world.server.stack.accepted)
        assert all(MARKER not in each.segment.payload for each in world.link.log)
    for host in (world.client, world.server):
        assert Outcome.AUTHENTICATED not in [outcome for outcome, _ in outcomes(host)]


def test_an_identity_is_not_bound_to_another_hosts_session() -> None:
    """A host that both know puts its own proof over the client's key: the server's keys are not the client's then."""
    peers = f"{CLIENT} {key_line(KEYS['mallory'])}\n{SERVER} {key_line(KEYS['server'])}\n"
    attack = Attack("Init1", replace_proof)
    world = World(
        client=engine(authenticator("client"), 1, requires=True, classical=True),
        server=engine(authenticator("server", peers), 2, requires=True, classical=True),
        filters=[attack.filter],
    )
    client = world.open()
    client.write(text(2_000))
    world.clock.run_for(300)
    assert attack.seen
    # It has signed for a key exchange whose keys it does not have: no frame is authentic.
    assert outcomes(world.server) == []
    assert all(not each.received for each in world.server.stack.accepted)
