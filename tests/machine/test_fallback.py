"""Where encryption is not possible the application's connection works as plain TCP."""

import pytest

from tcpcryptd.crypto.suites import AES128_CTR_SEQIV_HMAC_SHA1, AES_256_GCM_SIV, RSA_2048, X25519_HPKE
from tcpcryptd.eno.handshake.negotiation import Reason
from tcpcryptd.eno.limits import SYN_TRIES
from tcpcryptd.wire.segment import SYN
from tests.machine.endpoint import Behaviour
from tests.machine.link import (
    CRYPT,
    IS_SYN,
    NO_SYN,
    SYN_ACK,
    SYN_ALONE,
    Conditions,
    Filter,
    Merge,
    all_of,
    any_packet,
    drop,
    has_option,
    has_payload,
    sent_by,
    split,
    strip,
)
from tests.machine.world import ALL, EACH_PROTOCOL, ENO, PORT, Suite, World, make_engine


@EACH_PROTOCOL
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("alone", ["client", "server"])
def test_the_other_host_has_no_daemon(suite: Suite, alone: str, version: int) -> None:
    world = World(**{alone: make_engine(suite=suite)}, version=version)  # type: ignore[arg-type]
    world.talk()
    world.assert_plain()
    expected = Reason.NO_OPTION if suite is ENO and alone == "client" else "the peer does not speak tcpcrypt"
    assert world.reasons(world.host(alone)) == [expected]


def test_a_plain_connection_leaves_the_daemon() -> None:
    world = World(client=make_engine(), server=None)
    client, server = world.connect()
    world.exchange(client, server)
    diverted = world.client.diverted
    world.exchange(client, server, 100_000)
    assert world.client.diverted == diverted <= 4


IMPAIRED = {
    "all": any_packet,
    "SYNs": IS_SYN,
    "SYN": SYN_ALONE,
    "SYN ACK": SYN_ACK,
    "INIT1": all_of(NO_SYN, sent_by("client")),
}
"""What is kept from arriving as it was sent. With `eno` the SYNs alone have the option."""
EACH_IMPAIRED = pytest.mark.parametrize(
    ("suite", "impaired"),
    [(suite, name) for suite in (ALL, ENO) for name in IMPAIRED if suite is ALL or name != "INIT1"],
)


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour(), Behaviour(timestamps=False), Behaviour(timestamps=False, sack=False), Behaviour(ecn=True)],
)
@EACH_IMPAIRED
def test_the_option_is_stripped(suite: Suite, impaired: str, behaviour: Behaviour) -> None:
    world = World.encrypting(suite, filters=[strip(CRYPT, IMPAIRED[impaired])])
    world.server.stack.listen(PORT, behaviour)
    world.talk(behaviour=behaviour)
    world.assert_plain()
    if suite is ENO:
        # From then on no segment has an option any more.
        assert not any(has_option(CRYPT)(each) for each in world.link.log if NO_SYN(each))


def test_the_option_is_stripped_from_what_is_no_syn() -> None:
    world = World.encrypting(filters=[strip(CRYPT, NO_SYN)])
    world.talk()
    world.assert_plain()


@EACH_IMPAIRED
def test_what_carries_the_option_is_swallowed(suite: Suite, impaired: str) -> None:
    world = World.encrypting(suite, filters=[drop(all_of(IMPAIRED[impaired], has_option(CRYPT)))])
    world.talk()
    world.assert_plain()
    if suite is ENO:
        syns = [each.segment for each in world.link.log if each.sender == "client" and each.segment.flags & SYN]
        ours = [segment.option(CRYPT) for segment in syns]
        assert None not in ours[:SYN_TRIES]
        assert len(set(ours[:SYN_TRIES])) == 1
        assert set(ours[SYN_TRIES:]) == {None}


INIT2 = all_of(NO_SYN, has_option(CRYPT), sent_by("server"))


@pytest.mark.parametrize("impairment", [drop(INIT2), strip(CRYPT, INIT2)], ids=["swallowed", "stripped"])
def test_init2_does_not_arrive(impairment: Filter) -> None:
    """The server has keys and must not go back: the connection fails, but nothing hangs and nothing leaks."""
    world = World.encrypting(filters=[impairment])
    client = world.open(data=b"request")
    assert world.clock.run_until(lambda: client.error is not None, 60), world.trace()
    world.clock.run_for(200)
    for host in world.hosts:
        assert host.daemon.counters()["encrypted"] == 0
        assert not host.stack.sockets


@pytest.mark.parametrize(
    ("client", "server"),
    [
        (
            Suite((RSA_2048,), (AES_256_GCM_SIV,)),
            Suite((X25519_HPKE,), (AES_256_GCM_SIV,)),
        ),
        (
            Suite((RSA_2048,), (AES128_CTR_SEQIV_HMAC_SHA1,)),
            Suite((RSA_2048,), (AES_256_GCM_SIV,)),
        ),
        (
            Suite((X25519_HPKE,), (AES_256_GCM_SIV,)),
            Suite((X25519_HPKE,), (AES128_CTR_SEQIV_HMAC_SHA1,)),
        ),
    ],
    ids=["public key", "symmetric", "symmetric, the other way"],
)
@pytest.mark.parametrize("first", ["client", "server"])
def test_no_common_algorithm(client: Suite, server: Suite, first: str) -> None:
    world = World(client=make_engine("c", client), server=make_engine("s", server))
    ends = world.connect()
    speaker, listener = ends if first == "client" else ends[::-1]
    speaker.write(b"first")
    assert world.clock.run_until(lambda: bytes(listener.received) == b"first", 5), world.trace()
    world.close(*ends)
    world.assert_plain()


@pytest.mark.parametrize(
    ("suite", "crowded", "size", "fits"),
    [
        *((ALL, "client", 20, True), (ALL, "client", 24, False), (ALL, "server", 12, True), (ALL, "server", 20, False)),
        *((ENO, "client", 16, True), (ENO, "client", 24, False), (ENO, "server", 20, True), (ENO, "server", 24, False)),
    ],
)
def test_the_syn_has_no_space(suite: Suite, crowded: str, size: int, fits: bool) -> None:
    full = Behaviour(extra_options=bytes((253, size)) + bytes(size - 2))
    world = World.encrypting(suite)
    if crowded == "server":
        world.server.stack.listen(PORT, full)
    world.talk(behaviour=full if crowded == "client" else None)
    if fits:
        world.assert_encrypted()
    else:
        world.assert_plain()


@EACH_PROTOCOL
def test_both_hosts_open_at_once(suite: Suite) -> None:
    """With TCP-ENO neither has the passive role."""
    world = World.encrypting(suite)
    client = world.client.stack.open(world.server.address, 5001, local_port=5000)
    server = world.server.stack.open(world.client.address, 5000, local_port=5001)
    world.exchange(client, server)
    world.close(client, server)
    world.assert_plain()
    if suite is ENO:
        assert world.reasons(world.client) == world.reasons(world.server) == [Reason.SAME_ROLE]


@pytest.mark.parametrize("filters", [[split], [Merge()], [split, split]], ids=["split", "merge", "split twice"])
def test_plain_segments_are_cut_anew_on_the_way(filters: list[Filter]) -> None:
    world = World.encrypting(filters=[strip(CRYPT, SYN_ACK), *filters])
    world.talk()
    world.assert_plain()


@EACH_PROTOCOL
def test_plain_connections_survive_a_bad_path(suite: Suite) -> None:
    for seed in range(30):
        conditions = Conditions(loss=0.05, duplication=0.05, reordering=0.1, corruption=0.02)
        world = World(client=make_engine(suite=suite), seed=seed, conditions=conditions, filters=[split])
        world.talk()
        world.assert_plain()


def test_nothing_but_data_was_in_clear() -> None:
    """A connection that ends up plain has no message of the handshake in its stream."""
    _world, client, server = World.opened(filters=[strip(CRYPT, all_of(NO_SYN, has_payload))])
    assert server.received.startswith(b"request")
    assert client.received.startswith(b"response")
