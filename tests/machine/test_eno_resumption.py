"""Sessions that go on without a key exchange (RFC 8548 section 3.5)."""

from dataclasses import replace

import pytest

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import Negotiated
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.crypto import tcpcrypt_schedule as schedule
from tcpcryptd.crypto.frame_aead import FRAME_AEADS, FrameAead
from tcpcryptd.crypto.key_scheme import KeyScheme
from tcpcryptd.crypto.prf import Prf
from tcpcryptd.eno import EnoConfig
from tcpcryptd.eno.config import SCHEMES
from tcpcryptd.eno.constants import ENO as ENO_KIND
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import SYN
from tests.machine.endpoint import Socket
from tests.machine.link import (
    NO_SYN,
    SYN_ACK,
    SYN_ALONE,
    Conditions,
    Crossing,
    Filter,
    all_of,
    drop,
    has_option,
    sent_by,
    strip,
)
from tests.machine.test_eno_exchange import carries
from tests.machine.world import EACH_SIDE, ENO, LIMIT, PORT, World, make_engine, text


def latest(world: World) -> list[Negotiated]:
    """What both hosts negotiated last."""
    return [host.negotiated[-1] for host in world.hosts]


def talk(world: World, port: int, *, reverse: bool = False) -> list[Negotiated]:
    """One more connection, opened by the server with `reverse`; what was negotiated."""
    opener, other = (world.server, world.client) if reverse else (world.client, world.server)
    other.stack.listen(PORT)
    before = len(other.stack.accepted)
    first = opener.stack.open(other.address, PORT, local_port=port)
    assert world.clock.run_until(lambda: len(other.stack.accepted) > before, LIMIT), world.trace()
    second: Socket = other.stack.accepted[before]
    world.exchange(first, second, 2000)
    world.close(first, second)
    world.assert_encrypted()
    return latest(world)


def exchanges(world: World, since: int = 0) -> int:
    """Key exchanges that were on the wire."""
    return sum(carries("Init1")(each) for each in world.link.log[since:])


@pytest.mark.parametrize("aead", FRAME_AEADS, ids=lambda each: each.name)
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda each: each.name)
def test_each_algorithm(scheme: KeyScheme, aead: FrameAead) -> None:
    world = World.encrypting(replace(ENO, eno=EnoConfig((scheme,), (aead,))))
    ids = set()
    for number in range(3):
        client, server = talk(world, 40_000 + number)
        assert client.resumed == server.resumed == (number > 0)
        assert client.suite == server.suite == f"{scheme.name}/{aead.name}"
        assert client.session_id is not None
        assert client.session_id == server.session_id
        # The TEP's byte, with v as host B sent it (RFC 8547 section 5.1).
        assert client.session_id[0] == scheme.tep | (0x80 if number or scheme.agreement else 0)
        ids.add(client.session_id)
    assert len(ids) == 3
    assert exchanges(world) == 1


@pytest.mark.parametrize("length", range(9))
def test_nonces_of_each_length(length: int) -> None:
    world = World.encrypting(replace(ENO, eno=EnoConfig(resumption_nonce_length=length)))
    talk(world, 40_000)
    began = len(world.link.log)
    assert all(info.resumed for info in talk(world, 40_001))
    offers = [each.segment.option(ENO_KIND) or b"" for each in world.link.log[began:] if SYN_ALONE(each)]
    # The resumption is last: a byte, half of an identifier, the nonce.
    assert offers[0][-10 - length] & 0x80


def test_nonces_are_long_and_drawn_anew() -> None:
    world = World.encrypting(ENO)
    for number in range(6):
        talk(world, 40_000 + number)
    values = [each.segment.option(ENO_KIND) or b"" for each in world.link.log if each.segment.flags & SYN]
    nonces = [value[-8:] for value in values if len(value) > 17]
    assert len(nonces) == len(set(nonces)) == 10


def test_each_segment_has_the_option_until_one_comes() -> None:
    """Data as well, which goes out at once (RFC 8547 section 4.6, RFC 8548 section 3.2)."""
    world = World.encrypting(ENO)
    talk(world, 40_000)
    began = len(world.link.log)
    silent = drop(all_of(NO_SYN, sent_by("server")))
    world.link.filters.append(silent)
    client = world.open(port=40_001, data=text(5000))
    world.clock.run_for(3)
    sent = [each.segment for each in world.link.log[began:] if each.sender == "client"]
    assert sum(segment.payload_length > 0 for segment in sent) > 3
    assert all(segment.option(ENO_KIND) is not None for segment in sent)
    world.link.filters.remove(silent)
    assert world.clock.run_until(lambda: client.all_acknowledged, LIMIT)
    began = len(world.link.log)
    client.write(text(5000))
    assert world.clock.run_until(lambda: client.all_acknowledged, LIMIT)
    assert not any(has_option(ENO_KIND)(each) for each in world.link.log[began:])
    assert exchanges(world) == 1


@pytest.mark.parametrize("lengths", [(0, 8), (8, 0), (3, 5)])
def test_nonces_of_different_lengths(lengths: tuple[int, int]) -> None:
    suites = [replace(ENO, eno=EnoConfig(resumption_nonce_length=length)) for length in lengths]
    world = World(client=make_engine("c", suites[0]), server=make_engine("s", suites[1]))
    talk(world, 40_000)
    assert all(info.resumed for info in talk(world, 40_001))


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Notes each session secret from which a host makes keys."""
    seen: list[bytes] = []
    secrets: list[tuple[Prf, bytes]] = []
    key, derive = schedule.keyed, schedule.first_master_key

    def keyed(secret: bytes) -> Prf:
        secrets.append((key(secret), secret))
        return secrets[-1][0]

    def note(prf: Prf, nonce: bytes) -> bytes:
        seen.extend(secret for each, secret in secrets if each is prf)
        return derive(prf, nonce)

    monkeypatch.setattr(schedule, "keyed", keyed)
    monkeypatch.setattr(schedule, "first_master_key", note)
    return seen


@pytest.mark.interpreted
def test_each_secret_serves_once(used: list[bytes]) -> None:
    for seed in range(10):
        # With more loss, both SYNs that carry the option can be lost.
        conditions = Conditions(loss=0.05, duplication=0.1, reordering=0.2)
        world = World.encrypting(ENO, seed=seed, conditions=conditions)
        for number in range(4):
            talk(world, 40_000 + number)
    counts = {secret: used.count(secret) for secret in used}
    # Once at either host.
    assert set(counts.values()) == {2}


@pytest.mark.parametrize("ends", [False, True])
def test_a_server_that_only_listens_breaks_no_chain(ends: bool) -> None:
    """It sends no frame: while an upload goes on, or after it was cut off, the next connection resumes all the same."""
    world = World.encrypting(ENO)
    talk(world, 40_000)
    for number in range(1, 4):
        client, _ = world.connect(port=40_000 + number)
        client.write(text(2000))
        world.clock.run_for(1)
        assert all(info.resumed for info in latest(world))
        if ends:
            client.abort()
            world.clock.run_for(1)
    assert exchanges(world) == 1


def test_who_accepted_opens() -> None:
    """The secrets of one exchange serve one kind of open at a host: the other begins with an exchange of its own."""
    world = World.encrypting(ENO)
    assert [info.role for info in talk(world, 40_000)] == ["A", "B"]
    client, server = talk(world, 41_000, reverse=True)
    assert (client.role, server.role) == ("B", "A")
    assert not client.resumed
    assert all(info.resumed for info in talk(world, 41_001, reverse=True))
    assert all(info.resumed for info in talk(world, 40_001))


@pytest.mark.interpreted
def test_an_offer_that_was_not_answered_is_not_made_again(used: list[bytes]) -> None:
    """The active opener uses the lowest secret that it has not proposed yet, successfully or not."""
    world = World.encrypting(ENO)
    talk(world, 40_000)
    lost = strip(ENO_KIND, SYN_ALONE)
    world.link.filters.append(lost)
    client, server = world.connect(port=40_001)
    world.exchange(client, server)
    world.link.filters.remove(lost)
    proposed = [each for each in world.link.log if SYN_ALONE(each)]
    # What was plain was plain.
    world.link.log.clear()
    assert not any(info.resumed for info in talk(world, 40_002))
    proposed += [each for each in world.link.log if SYN_ALONE(each)]
    values = [each.segment.option(ENO_KIND) or b"" for each in proposed]
    # Only the second connection has proposed to go on.
    assert [len(value) > 10 for value in values] == [False, True, False]
    assert len(set(used)) == 2


def changed_half(predicate: object) -> Filter:
    def apply(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        value = segment.option(ENO_KIND)
        if not predicate(crossing) or value is None or len(value) < 10:  # type: ignore[operator]
            return [crossing.packet]
        at = len(value) - 12
        new = value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :]
        return [segment.edited(option_area=options.replace(segment.option_area, {ENO_KIND: new}))]

    return apply


def test_another_half_from_the_peer_disables() -> None:
    world = World.encrypting(ENO)
    talk(world, 40_000)
    world.link.filters.append(changed_half(SYN_ACK))
    seen, began = len(world.client.events), len(world.link.log)
    client, server = world.connect(port=40_001)
    client.write(text(1000))
    world.clock.run_for(10)
    assert bytes(server.received) == text(1000)
    assert not any(isinstance(event, Negotiated) for event in world.client.events[seen:])
    # No more options, and nothing encrypted.
    assert not any(NO_SYN(each) and has_option(ENO_KIND)(each) for each in world.link.log[began:])


def test_another_half_to_the_peer_is_a_key_exchange() -> None:
    world = World.encrypting(ENO)
    talk(world, 40_000)
    world.link.filters.append(changed_half(SYN_ALONE))
    client = world.open(port=40_001, data=text(1000))
    # The SYN was altered: the transcripts differ, and no working connection comes of it (RFC 8547 section 4.8).
    world.clock.run_for(400)
    assert all(text(1000).startswith(bytes(each.received)) for each in world.server.stack.accepted[1:])
    assert not client.all_acknowledged
    world.assert_nothing_in_clear()


@EACH_SIDE
def test_an_application_that_wants_no_cache(side: str) -> None:
    world = World.encrypting(ENO)
    talk(world, 40_000)
    host, port = (world.client, 40_001) if side == "client" else (world.server, PORT)
    host.daemon.set_options(ConnectionOptions(cache=False), Endpoint(host.address, port))
    assert not any(info.resumed for info in talk(world, 40_001))
    host.daemon.set_options(ConnectionOptions(), Endpoint(host.address, port))
    resumed = [info.resumed for info in talk(world, 40_002)]
    # The first connection's session is still there when nobody has proposed it.
    assert resumed == [side == "client"] * 2


def test_sessions_of_another_algorithm_are_left() -> None:
    """An application's list of AEAD algorithms counts for resumption, too."""
    world = World.encrypting(ENO)
    talk(world, 40_000)
    wanted = (FRAME_AEADS[2].identifier.to_bytes(2, "big"),)
    local = Endpoint(world.client.address, 40_001)
    world.client.daemon.set_options(ConnectionOptions(client_ciphers=wanted), local)
    client, _ = talk(world, 40_001)
    assert not client.resumed
    assert client.suite is not None
    assert client.suite.endswith(FRAME_AEADS[2].name)
