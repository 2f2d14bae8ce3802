"""Where TCP-ENO fails the connection is plain TCP, and says why (RFC 8547 section 4.6)."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.crypto.ecdhe import P256, X25519
from tcpcryptd.eno import EnoConfig
from tcpcryptd.eno.constants import ENO as ENO_KIND
from tcpcryptd.eno.handshake import option
from tcpcryptd.eno.handshake.negotiation import Reason
from tcpcryptd.eno.handshake.option import SynOption
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import SYN
from tests.machine.endpoint import Behaviour
from tests.machine.link import (
    IS_SYN,
    NO_SYN,
    SYN_ACK,
    SYN_ALONE,
    Crossing,
    Filter,
    Predicate,
    all_of,
    drop,
    drop_nth,
    has_option,
    repeat,
    sent_by,
    strip,
)
from tests.machine.world import EACH_SIDE, ENO, LIMIT, PORT, World, make_engine, text


def rewritten(predicate: Predicate, change: Callable[[SynOption], bytes]) -> Filter:
    """The ENO option of a SYN with other contents, as long as they were or shorter."""

    def apply(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        found = option.read(segment.options) if predicate(crossing) else None
        if found is None:
            return [crossing.packet]
        others = [each for each in segment.options if each[0] != ENO_KIND]
        area = b"".join(options.encode(*each) for each in others) + options.encode(ENO_KIND, change(found))
        return [segment.edited(option_area=options.pad(area))]

    return apply


def options_of(world: World, sender: str, since: int = 0) -> list[bytes | None]:
    """The ENO options of a host's SYNs, in order."""
    segments = [crossing.segment for crossing in world.link.log[since:] if crossing.sender == sender]
    return [segment.option(ENO_KIND) for segment in segments if segment.flags & SYN]


@pytest.mark.parametrize("sender", ["client", "server"])
def test_the_option_is_stripped_from_what_is_no_syn(sender: str) -> None:
    """Host A has enabled encryption with its ACK, and host B has not seen it: both fail, with an error."""
    world = World.encrypting(ENO, filters=[strip(ENO_KIND, all_of(NO_SYN, sent_by(sender)))])
    client = world.open(data=text(500))
    if sender == "server":
        # Host B needs none.
        assert world.clock.run_until(lambda: client.all_acknowledged, LIMIT)
        world.assert_encrypted()
        return
    assert world.clock.run_until(lambda: client.error == "reset", 60), world.trace()
    world.clock.run_for(200)
    assert [bytes(each.received) for each in world.server.stack.accepted] == []
    assert not world.server.stack.sockets
    world.assert_nothing_in_clear()


def test_a_syn_ack_that_comes_after_the_option_was_left_out_does_not_count() -> None:
    """Without the option the active opener has disabled encryption, whatever it is answered (section 4.6)."""
    held: list[bytes] = []

    def delayed(crossing: Crossing) -> list[bytes]:
        if not SYN_ACK(crossing) or not has_option(ENO_KIND)(crossing):
            return [crossing.packet]
        held.append(crossing.packet)
        return []

    world = World.encrypting(
        ENO, filters=[delayed, drop(all_of(SYN_ALONE, lambda each: not has_option(ENO_KIND)(each)))]
    )
    client = world.open()
    assert world.clock.run_until(lambda: options_of(world, "client")[-1:] == [None], LIMIT)
    world.link.filters.clear()
    world.link.deliver("server", held[0])
    client.write(text(3000))
    assert world.clock.run_until(lambda: client.all_acknowledged, LIMIT), world.trace()
    world.assert_plain()


def test_a_passive_opener_never_leaves_out_the_option() -> None:
    """SYN ACKs get lost, and no SYN comes without the option, which is required: all are the same (section 4.6)."""
    config = EngineConfig(required=(ip_network("10.0.0.0/8"),))
    world = World(client=make_engine("c", ENO, config), server=make_engine("s", ENO))
    world.link.filters.append(drop_nth(SYN_ACK, 1, 2, 3, 4, 5))
    client, server = world.connect()
    world.exchange(client, server)
    answers = options_of(world, "server")
    assert len(answers) >= 6
    assert len(set(answers)) == 1
    world.assert_encrypted()


@pytest.mark.parametrize("filters", [[repeat(IS_SYN)], [drop_nth(SYN_ALONE, 1)], [drop_nth(SYN_ACK, 1)]])
def test_repeated_syns_have_the_same_option(filters: list[Filter]) -> None:
    world = World.encrypting(ENO, filters=filters)
    world.talk()
    world.assert_encrypted()
    for host in ("client", "server"):
        assert len(set(options_of(world, host))) == 1


WITHOUT_TEP = [
    pytest.param(lambda found: bytes((found.global_,)), Reason.VACUOUS, id="vacuous"),
    pytest.param(lambda found: bytes((found.global_, 0x7F)), Reason.NO_COMMON_TEP, id="another TEP"),
    pytest.param(lambda found: bytes((found.global_ ^ 1, 0x23)), Reason.SAME_ROLE, id="the same role"),
    pytest.param(lambda found: bytes((found.global_, 0x9F, 0xA3)), Reason.NO_OPTION, id="a length beyond the end"),
    pytest.param(lambda found: bytes((found.global_, 0x80, 0x23)), Reason.NO_OPTION, id="a length before v = 0"),
]


@pytest.mark.parametrize(("change", "reason"), WITHOUT_TEP)
@pytest.mark.parametrize("sender", ["client", "server"])
def test_options_that_disable_encryption(sender: str, change: Callable[[SynOption], bytes], reason: Reason) -> None:
    world = World.encrypting(ENO, filters=[rewritten(all_of(IS_SYN, sent_by(sender)), change)])
    world.talk()
    world.assert_plain()
    receiver = world.server if sender == "client" else world.client
    expected: set[str] = {reason}
    if sender == "client" and reason is Reason.NO_OPTION:
        # Nothing shows that it was TCP-ENO.
        expected.add("the peer does not speak tcpcrypt")
    assert expected.issuperset(world.reasons(receiver))


@pytest.mark.parametrize("predicate", [SYN_ALONE, SYN_ACK], ids=["SYN", "SYN ACK"])
def test_an_option_that_was_altered_lets_no_data_through(predicate: Predicate) -> None:
    """A reserved bit, which changes nothing that is negotiated: the transcripts differ (RFC 8547 section 4.8)."""

    def altered(found: SynOption) -> bytes:
        return bytes((found.global_ | 0x10,)) + found.raw[3 if found.global_ else 2 :]

    world = World.encrypting(ENO, filters=[rewritten(predicate, altered)])
    client = world.open(data=text(1000))
    world.clock.run_for(300)
    assert not any(each.received or each.peer_finished for each in world.server.stack.accepted)
    assert client.error is not None
    ids = world.session_ids()
    assert None not in ids
    assert ids[0] != ids[1]
    world.assert_nothing_in_clear()


def test_two_options_count_as_none() -> None:
    def doubled(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        found = segment.option(ENO_KIND)
        if not SYN_ALONE(crossing) or found is None:
            return [crossing.packet]
        rest = b"".join(options.encode(*each) for each in segment.options if each[0] != ENO_KIND)
        area = rest + 2 * options.encode(ENO_KIND, b"\x23")
        return [segment.edited(option_area=options.pad(area))]

    world = World.encrypting(ENO, filters=[doubled])
    world.talk()
    world.assert_plain()


def test_an_echo_of_the_own_option_is_no_answer() -> None:
    """Some middleboxes send back what they do not know: b is the same then."""
    sent: list[bytes] = []

    def echo(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        found = segment.option(ENO_KIND)
        if found is not None and segment.is_opening:
            sent.append(found)
            return [segment.edited(option_area=options.replace(segment.option_area, {ENO_KIND: None}))]
        if sent and SYN_ACK(crossing):
            area = b"".join(options.encode(*each) for each in segment.options) + options.encode(ENO_KIND, sent[0])
            return [segment.edited(option_area=options.pad(area))]
        return [crossing.packet]

    world = World.encrypting(ENO, filters=[echo])
    world.talk()
    world.assert_plain()
    assert world.reasons(world.client) == [Reason.SAME_ROLE]


def test_no_common_tep() -> None:
    teps = [replace(ENO, eno=EnoConfig(schemes=(each,))) for each in (X25519, P256)]
    world = World(client=make_engine("c", teps[0]), server=make_engine("s", teps[1]))
    world.talk()
    world.assert_plain()
    assert world.reasons(world.server) == [Reason.NO_COMMON_TEP]
    assert options_of(world, "server") == [None]


@pytest.mark.parametrize("extra", [bytes((19, 18)) + bytes(16), bytes((30, 4, 0, 1))], ids=["MD5", "MPTCP"])
@EACH_SIDE
def test_a_connection_that_is_left_alone(side: str, extra: bytes) -> None:
    world = World.encrypting(ENO)
    special = Behaviour(extra_options=extra, timestamps=False)
    if side == "server":
        world.server.stack.listen(PORT, special)
    world.talk(behaviour=special if side == "client" else None)
    world.assert_plain()
