"""Somebody on the path who has an identity of its own, and everything that was ever said.

Whatever it does with proofs: nobody takes it for another, and where identity is required no byte of an application's
passes.
"""

from collections.abc import Callable, Mapping

import pytest

from tcpcryptd.core.protocol import Outcome
from tcpcryptd.identity.identification import IDENTITY
from tcpcryptd.identity.proof import HostKey, Part, Role
from tcpcryptd.identity.public_key import key_line
from tests.machine.identities import (
    CLIENT,
    KEYS,
    PROTOCOLS,
    SEEDS,
    SERVER,
    authenticator,
    engine,
    names,
    outcomes,
    refusals,
)
from tests.machine.link import Crossing, Filter
from tests.machine.proofs import OTHER_ITEM, Message, carrying, proof_of, read, with_other_key, with_other_nonce
from tests.machine.world import ENO, MARKER, Suite, World, text

pytestmark = PROTOCOLS
Change = Callable[["Attack", str, Message], Message | bytes]
"""Of what a host has sent: the attacker, 'first' or 'second', and the message; what goes on."""
ROLES = {"first": Role.INITIATOR, "second": Role.RESPONDER}


class Attack:
    """Changes the messages of one session; `earlier` are those of another session between the same hosts."""

    def __init__(self, suite: Suite, which: str, change: Change, earlier: Mapping[str, bytes] | None = None) -> None:
        self.suite = suite
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
        found = read(segment.payload)
        if found is None:
            return [crossing.packet]
        name, message = found
        self.seen[name] = segment.payload
        if name != self.which:
            return [crossing.packet]
        changed = self.change(self, name, message)
        payload = changed if isinstance(changed, bytes) else changed.encode()
        return [segment.edited(payload=payload)]


def message_of(payload: bytes) -> Message:
    found = read(payload)
    assert found is not None
    return found[1]


def carrying_proof(message: Message, proof: bytes | None) -> Message:
    return carrying(message, {} if proof is None else {IDENTITY: proof})


def own_proof(attack: Attack, name: str, message: Message) -> bytes:
    """The attacker's, over the message with its own key, as it would make it for a session of its own."""
    other = attack.seen.get("first", b"") if name == "second" else b""
    unsigned = carrying_proof(message, attack.key.unsigned).encode()
    protocol = b"eno" if attack.suite is ENO else b"crypt"
    return attack.key.prove(Part(protocol, ROLES[name], attack.transcript, unsigned, other))


def strip(attack: Attack, name: str, message: Message) -> Message:
    return carrying_proof(message, None)


def replace_proof(attack: Attack, name: str, message: Message) -> Message:
    return carrying_proof(message, own_proof(attack, name, message))


def replace_key_under_the_signature(attack: Attack, name: str, message: Message) -> Message:
    return carrying_proof(message, proof_of(message)[:65] + KEYS["mallory"])


def replace_ephemeral_key(attack: Attack, name: str, message: Message) -> Message:
    first = attack.seen.get("first")
    return with_other_key(message, message_of(first) if first is not None else None)


def replace_all_of_its_own(attack: Attack, name: str, message: Message) -> Message:
    """Its keys, and its proof over them: it has a session of its own with the victim."""
    changed = replace_ephemeral_key(attack, name, message)
    return carrying_proof(changed, own_proof(attack, name, changed))


def replace_nonce(attack: Attack, name: str, message: Message) -> Message:
    return with_other_nonce(message)


def replay_message(attack: Attack, name: str, message: Message) -> bytes:
    return attack.earlier[name]


def replay_proof(attack: Attack, name: str, message: Message) -> Message:
    return carrying_proof(message, proof_of(message_of(attack.earlier[name])))


def other_roles_proof(attack: Attack, name: str, message: Message) -> Message:
    """The client's own comes back to it as the server's."""
    other = "first" if name == "second" else "second"
    return carrying_proof(message, proof_of(message_of(attack.seen.get(other) or attack.earlier[other])))


def proof_twice(attack: Attack, name: str, message: Message) -> Message:
    proof = proof_of(message)
    return carrying(message, {IDENTITY: proof, OTHER_ITEM: proof})


CHANGES = (
    *(strip, replace_proof, replace_key_under_the_signature, replace_ephemeral_key, replace_all_of_its_own),
    *(replace_nonce, replay_message, replay_proof, other_roles_proof, proof_twice),
)


def world_of(suite: Suite, filters: list[Filter], *, requires: bool, seed: int) -> World:
    return World(
        client=engine(authenticator("client"), f"c{seed}", suite=suite, requires=requires, classical=True),
        server=engine(authenticator("server"), f"s{seed}", suite=suite, requires=requires, classical=True),
        filters=filters,
    )


def recorded(suite: Suite, *, requires: bool) -> Mapping[str, bytes]:
    """What an earlier session between the same hosts has said, after the same SYNs."""
    attack = Attack(suite, "", strip)
    world = world_of(suite, [attack.filter], requires=requires, seed=1)
    client, server = world.connect()
    world.exchange(client, server)
    assert set(attack.seen) == {"first", "second"}
    return attack.seen


@pytest.mark.parametrize("requires", [False, True])
@pytest.mark.parametrize("which", ["first", "second"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_proofs_that_somebody_has_changed(suite: Suite, change: Change, which: str, requires: bool) -> None:
    attack = Attack(suite, which, change, recorded(suite, requires=requires))
    world = world_of(suite, [attack.filter], requires=requires, seed=2)
    client = world.open(data=text(2_000, b"request "))
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
    victim = world.server if which == "first" else world.client
    assert Outcome.AUTHENTICATED not in [outcome for outcome, _ in outcomes(victim)]
    if requires and change is not replay_message:
        assert refusals(victim), world.trace()
    world.assert_nothing_in_clear()


def test_a_replayed_client_is_never_authenticated(suite: Suite) -> None:
    """The proof in a recorded Init1 is right; who repeats it does not have the keys."""
    attack = Attack(suite, "first", replay_message, recorded(suite, requires=True))
    world = world_of(suite, [attack.filter], requires=True, seed=3)
    client = world.open(data=text(2_000))
    world.clock.run_for(200)
    assert attack.seen
    assert client.error is not None
    assert refusals(world.server) == []
    assert outcomes(world.server) == []
    assert all(not each.received for each in world.server.stack.accepted)


@pytest.mark.parametrize("requires", [False, True])
@pytest.mark.parametrize("as_client", [False, True])
def test_a_daemon_in_the_others_place(suite: Suite, requires: bool, as_client: bool) -> None:
    mallory, victim = authenticator("mallory", ""), authenticator("server" if as_client else "client")
    engines = [engine(mallory, 1, suite=suite), engine(victim, 2, suite=suite, requires=requires)]
    client, server = engines if as_client else engines[::-1]
    world = World(client=client, server=server)
    socket = world.open(data=text(2_000))
    world.clock.run_for(100)
    assert socket.error is not None
    assert not socket.received
    assert all(not each.received for each in world.server.stack.accepted)
    assert len(refusals(world.server if as_client else world.client)) >= 1
    world.assert_nothing_in_clear()


@pytest.mark.parametrize("requires", [False, True])
def test_without_an_identity_in_the_others_place(suite: Suite, requires: bool) -> None:
    """Who strips the identity is let in where nothing is required, and is not taken for anybody."""
    ours = engine(authenticator("client"), 1, suite=suite, requires=requires)
    world = World(client=ours, server=engine(None, 2, suite=suite))
    client = world.open(data=text(2_000))
    world.clock.run_for(100)
    assert (client.error is not None) is requires
    assert names([world.client]) == ([] if requires else [""])
    if requires:
        assert all(not each.received for each in world.server.stack.accepted)


@pytest.mark.parametrize("requires", [False, True])
@pytest.mark.parametrize("sender", ["client", "server"])
def test_a_stripped_offer(suite: Suite, requires: bool, sender: str) -> None:
    """Another TEP is left when the experiment is taken out of a SYN, and plain TCP when all are, or HELLO is."""
    taken_out = (b"\x5f\x7b", b"\x5f\x7c") if suite is ENO else (b"\xff\x00\x67", b"\xfe\x00\x67")
    if suite is not ENO and sender == "client":
        taken_out = b"\x45\x02", b"\x01\x01"

    def without_offer(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if not segment.flags & 2 or crossing.sender != sender:
            return [crossing.packet]
        assert taken_out[0] in segment.option_area
        return [segment.edited(option_area=segment.option_area.replace(*taken_out))]

    world = World(
        client=engine(authenticator("client"), 1, suite=suite, requires=requires),
        server=engine(authenticator("server"), 2, suite=suite, requires=requires),
        filters=[without_offer],
    )
    client = world.open(data=text(2_000))
    world.clock.run_for(100)
    if requires:
        assert client.error is not None, world.trace()
        assert all(not each.received for each in world.server.stack.accepted)
        assert all(MARKER not in each.segment.payload for each in world.link.log)
    for host in world.hosts:
        assert Outcome.AUTHENTICATED not in [outcome for outcome, _ in outcomes(host)]


def test_an_identity_is_not_bound_to_another_hosts_session(suite: Suite) -> None:
    """A host that both know puts its own proof over the client's key: the server's keys are not the client's then."""
    peers = f"{CLIENT} {key_line(KEYS['mallory'])}\n{SERVER} {key_line(KEYS['server'])}\n"
    attack = Attack(suite, "first", replace_proof)
    world = World(
        client=engine(authenticator("client"), 1, suite=suite, requires=True, classical=True),
        server=engine(authenticator("server", peers), 2, suite=suite, requires=True, classical=True),
        filters=[attack.filter],
    )
    world.open(data=text(2_000))
    world.clock.run_for(300)
    assert attack.seen
    # It has signed for a key exchange whose keys it does not have: no frame is authentic.
    assert outcomes(world.server) == []
    assert all(not each.received for each in world.server.stack.accepted)
