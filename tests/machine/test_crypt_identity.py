"""What is `crypt`'s own about host identities: its segments have bounds, and there are originals."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.options import ClientMode, ConnectionOptions
from tcpcryptd.core.protocol import Outcome
from tcpcryptd.crypt.constants import Opcode
from tcpcryptd.crypto.identity import public_key
from tcpcryptd.crypto.suites import MLKEM768_X25519_HPKE, RSA_2048
from tcpcryptd.identity import sshsig
from tcpcryptd.identity.authenticator import Authenticator
from tcpcryptd.identity.public_key import key_line
from tcpcryptd.wire.segment import SYN
from tests.machine.endpoint import Behaviour
from tests.machine.host import Host
from tests.machine.identities import (
    AUTHORITY,
    EVERYBODY,
    KEYS,
    SERVER,
    authenticator,
    certificate,
    counted,
    engine,
    outcomes,
    refusals,
)
from tests.machine.link import Filter, drop, drop_nth
from tests.machine.original_state import find
from tests.machine.test_identity_answered import assert_nothing_passed, impostor
from tests.machine.world import ALL, FROM_ORIGINAL, PORT, TO_ORIGINAL, Suite, World, make_engine, make_original, text
from tests.unit.identity.openssh import needs_ssh_keygen, ssh_keygen

AUTHENTICATED = Outcome.AUTHENTICATED
HYBRID, CLASSICAL = "MLKEM768-X25519-HPKE", "X25519-HPKE"
FIELD = 103
"""Bytes of the extension field with a proof by a key."""
INIT1, INIT2, SMALL1, SMALL2 = 1260, 1160, 76, 72
"""The messages without it, post-quantum and not."""
BY_AUTHORITY = f"@cert-authority *.*.*.* {key_line(public_key(AUTHORITY))}"
RSA_ONLY = Suite((RSA_2048,))


def world_of(
    client: Authenticator | None,
    server: Authenticator | None,
    *,
    requires: bool = False,
    filters: list[Filter] | None = None,
    suite: Suite = ALL,
) -> World:
    return World(
        client=engine(client, 1, suite=suite, requires=requires),
        server=engine(server, 2, suite=suite, requires=requires),
        filters=filters or [],
    )


def both(peers: str | None = None, *, key_id_length: int | None = None) -> list[Authenticator]:
    """Of client and server; with certificates that have such names."""
    made = []
    for name in ("client", "server"):
        shown = None if key_id_length is None else certificate(name, key_id_length)
        made.append(authenticator(name, BY_AUTHORITY, certificate=shown) if shown else authenticator(name))
    return made


def mechanism(host: Host) -> str:
    assert isinstance(host.engine, Engine)
    suites = [info.suite or "" for info in host.engine.connections()]
    return suites[-1].partition("/")[0]


def lengths(world: World, opcode: int) -> list[int]:
    return [each.segment.payload_length for each in world.link.log if find(each.segment, opcode) is not None]


@pytest.mark.parametrize(
    ("mss", "key_id_length", "expected", "sizes"),
    [
        (1460, None, HYBRID, (INIT1 + FIELD, INIT2 + FIELD)),
        # With 16 bytes of options, to the byte.
        (INIT1 + FIELD + 16, None, HYBRID, (INIT1 + FIELD, INIT2 + FIELD)),
        (INIT1 + FIELD + 15, None, CLASSICAL, (SMALL1 + FIELD, SMALL2 + FIELD)),
        (1460, 8, CLASSICAL, None),
        (1460, 800, CLASSICAL, None),
        (536, 8, CLASSICAL, None),
        (536, None, CLASSICAL, (SMALL1 + FIELD, SMALL2 + FIELD)),
    ],
)
@pytest.mark.parametrize("requires", [False, True])
def test_identity_goes_before_post_quantum(
    mss: int, key_id_length: int | None, expected: str, sizes: tuple[int, int] | None, requires: bool
) -> None:
    world = world_of(*both(key_id_length=key_id_length), requires=requires)
    behaviour = Behaviour(mss=mss)
    world.server.stack.listen(PORT, behaviour)
    client, server = world.connect(behaviour=behaviour)
    world.exchange(client, server)
    world.assert_encrypted()
    assert mechanism(world.client) == expected
    assert [outcome for outcome, _ in outcomes(world.client) + outcomes(world.server)] == [AUTHENTICATED] * 2
    if sizes is not None:
        assert (lengths(world, Opcode.INIT1), lengths(world, Opcode.INIT2)) == ([sizes[0]], [sizes[1]])
    assert max(lengths(world, Opcode.INIT1) + lengths(world, Opcode.INIT2)) + 16 <= mss


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("requires", [False, True])
def test_a_proof_that_fits_nowhere(side: str, requires: bool) -> None:
    """Then both are left out, and nobody is authenticated; where identity is required the connection fails."""
    other = "server" if side == "client" else "client"
    own = {
        side: authenticator(side, BY_AUTHORITY, certificate=certificate(side, 1200)),
        other: authenticator(other, BY_AUTHORITY),
    }
    world = world_of(own["client"], own["server"], requires=requires)
    client = world.open(data=text(2_000))
    world.clock.run_for(60)
    if requires:
        assert client.error is not None
        assert "there is no room for proofs of identity in a segment" in refusals(world.client)
        assert all(not each.received for each in world.server.stack.accepted)
        world.assert_nothing_in_clear()
        return
    world.assert_encrypted()
    assert mechanism(world.client) == HYBRID
    assert [outcome for outcome, _ in outcomes(world.client) + outcomes(world.server)] == [Outcome.ABSENT] * 2


@pytest.mark.parametrize("identity_is_required", [False, True])
def test_what_must_be_post_quantum_goes_without_proofs_that_do_not_fit(identity_is_required: bool) -> None:
    everybody = (ip_network("0.0.0.0/0"),)
    own = both(key_id_length=8)
    config = EngineConfig(required_post_quantum=everybody, required_identity=EVERYBODY if identity_is_required else ())
    suite = replace(ALL, eno=ALL.eno.with_identities(own[0]))
    world = World(client=make_engine(1, suite, config), server=engine(own[1], 2, suite=ALL))
    client = world.open(data=text(2_000))
    world.clock.run_for(60)
    assert (client.error is not None) is identity_is_required
    world.assert_nothing_in_clear()
    if not identity_is_required:
        world.assert_encrypted()
        assert mechanism(world.client) == HYBRID
        assert outcomes(world.client) == [(Outcome.ABSENT, "")]


@pytest.mark.parametrize("requires", [False, True])
def test_switched_roles(requires: bool) -> None:
    """PKCONF comes in an ACK, and the passive opener signs first."""
    world = world_of(*both(), requires=requires)
    always = ConnectionOptions(client_mode=ClientMode.ALWAYS)
    world.server.daemon.set_options(always, Endpoint(SERVER, PORT))
    for port in (40_000, 40_001):
        world.talk(port=port)
    world.assert_encrypted()
    assert outcomes(world.client) == [(AUTHENTICATED, "server")] * 2
    assert outcomes(world.server) == [(AUTHENTICATED, "client")] * 2
    init1s = [each.sender for each in world.link.log if find(each.segment, Opcode.INIT1) is not None]
    assert init1s == ["server"] * 2


def test_switched_roles_and_a_server_that_shows_anothers_key() -> None:
    """The opener answers, and verifies the proof meanwhile."""
    server = engine(impostor("server"), 2, suite=ALL)
    server.set_options(ConnectionOptions(client_mode=ClientMode.ALWAYS), Endpoint(SERVER, PORT))
    world = World(client=engine(both()[0], 1, suite=ALL), server=server)
    client = world.open(data=text(2_000))
    world.clock.run_for(100)
    assert next(each.sender for each in world.link.log if find(each.segment, Opcode.INIT2) is not None) == "client"
    assert_nothing_passed(world, client)
    assert counted(world.client) == {"forged": 1}


@pytest.mark.parametrize("number", range(1, 9))
def test_a_lost_segment(number: int) -> None:
    world = world_of(*both(), requires=True, filters=[drop_nth(lambda _: True, number)])
    client, server = world.connect()
    world.exchange(client, server)
    world.assert_encrypted()
    assert outcomes(world.client) == [(AUTHENTICATED, "server")]
    assert outcomes(world.server) == [(AUTHENTICATED, "client")]


@pytest.mark.parametrize("opcode", [Opcode.INIT1, Opcode.INIT2])
def test_a_path_that_is_too_narrow(opcode: int) -> None:
    """The smaller INIT1 that follows has a proof of its own."""
    large = drop(lambda each: find(each.segment, opcode) is not None and each.segment.payload_length > 1000)
    world = world_of(*both(), requires=True, filters=[large])
    client, server = world.connect()
    world.exchange(client, server)
    world.assert_encrypted()
    assert mechanism(world.client) == CLASSICAL
    assert outcomes(world.client) == [(AUTHENTICATED, "server")]
    assert outcomes(world.server) == [(AUTHENTICATED, "client")]


@pytest.mark.parametrize("suite", [FROM_ORIGINAL, TO_ORIGINAL], ids=["from", "to"])
@pytest.mark.parametrize("requires", [False, True])
def test_an_original(suite: Suite, requires: bool) -> None:
    """It understands what it is sent, proves nothing, and is refused where that is wanted."""
    engines = {
        name: make_original(name)
        if suite.original == name
        else engine(authenticator(name), 1, suite=ALL, requires=requires)
        for name in ("client", "server")
    }
    world = World(client=engines["client"], server=engines["server"])
    client = world.open(data=text(2_000))
    world.clock.run_for(60)
    ours = world.server if suite.original == "client" else world.client
    assert (client.error is not None) is requires, world.trace()
    if requires:
        assert all(not each.received for each in world.server.stack.accepted)
        assert len(refusals(ours)) == 1
        return
    assert world.server.stack.accepted[0].received
    assert outcomes(ours) == [(Outcome.ABSENT, "")]
    assert not lengths(world, Opcode.INIT1) or max(lengths(world, Opcode.INIT1)) < 400
    world.assert_healthy()


@pytest.mark.parametrize("requires", [False, True])
def test_rsa_has_no_place_for_proofs(requires: bool) -> None:
    world = world_of(*both(), requires=requires, suite=RSA_ONLY)
    client = world.open(data=text(2_000))
    world.clock.run_for(60)
    assert (client.error is not None) is requires
    if not requires:
        world.assert_encrypted()
        assert outcomes(world.client) == [(Outcome.ABSENT, "")]


def test_who_has_identities_asks_for_them_and_nobody_else() -> None:
    """Without identities at one end, the messages are those of earlier versions."""
    for client, server in ((authenticator("client"), None), (None, authenticator("server"))):
        world = world_of(client, server)
        ends = world.connect()
        world.exchange(*ends)
        world.assert_encrypted()
        assert (lengths(world, Opcode.INIT1), lengths(world, Opcode.INIT2)) == ([INIT1], [INIT2])
    assert MLKEM768_X25519_HPKE.is_private
    assert not RSA_2048.is_private


def ssh_fields(*fields: bytes) -> bytes:
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


@needs_ssh_keygen
def test_openssh_verifies_what_is_on_the_wire(tmp_path: Path) -> None:
    """The statement as docs/identity.md has it, built from the capture without what the daemon builds it with."""
    world = world_of(*both())
    world.exchange(*world.connect())
    syns = [each.segment for each in world.link.log if each.segment.flags & SYN][:2]
    transcript = b"".join(bytes((69, len(value) + 2)) + value for value in (syn.option(69) or b"" for syn in syns))
    init1, init2 = (
        next(each.segment.payload for each in world.link.log if find(each.segment, opcode) is not None)
        for opcode in (Opcode.INIT1, Opcode.INIT2)
    )
    for name, role, message, other in (
        ("client", b"initiator", init1, b""),
        ("server", b"responder", init2, init1),
    ):
        # The proof is the end of the message: kind, signature, key.
        signature, key = message[-96:-32], message[-32:]
        assert key == KEYS[name]
        unsigned = message[:-96] + bytes(64) + key
        statement = ssh_fields(b"tcpcryptd host identity 1", b"crypt", role, transcript, unsigned, other)
        (tmp_path / "signature").write_bytes(sshsig.armor(key, signature))
        (tmp_path / "signers").write_text(f"{name} {key_line(key)}\n")
        namespace = ("-n", "host-identity@tcpcryptd")
        check = ("-Y", "verify", *namespace, "-I", name, "-f", tmp_path / "signers", "-s", tmp_path / "signature")
        assert "Good" in ssh_keygen(*check, stdin=statement)
        ssh_keygen(*check, stdin=statement + b"\0", succeeds=False)
