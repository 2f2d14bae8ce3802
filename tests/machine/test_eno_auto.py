"""TCP-ENO first, then the CRYPT protocol, then nothing, each peer by what it answered."""

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.event import Negotiated
from tcpcryptd.crypto.suites import RSA_2048
from tcpcryptd.eno.constants import ENO as ENO_KIND
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import SYN
from tests.machine.link import SYN_ACK, SYN_ALONE, Crossing, drop_nth, has_flags, strip
from tests.machine.world import ALL, AUTO, ENO, World, make_engine

ONLY_CRYPT = EngineConfig(answers=("crypt",))
ONLY_ENO = EngineConfig(answers=("eno",))


def talk(world: World, port: int) -> str | None:
    """The protocol of one more connection; None: it is plain."""
    seen = len(world.client.events)
    client, server = world.connect(port=port)
    world.exchange(client, server, 2000)
    world.close(client, server)
    found = [event.protocol for event in world.client.events[seen:] if isinstance(event, Negotiated)]
    return found[0] if found else None


def offered(world: World) -> bytes | None:
    """The option of the client's latest first SYN."""
    return [each.segment.option(ENO_KIND) for each in world.link.log if SYN_ALONE(each)][-1]


def test_a_host_that_speaks_both() -> None:
    world = World(client=make_engine("c", AUTO), server=make_engine("s"))
    assert [talk(world, 40_000 + number) for number in range(3)] == ["eno"] * 3


def test_a_host_that_speaks_crypt() -> None:
    world = World(client=make_engine("c", AUTO), server=make_engine("s", ALL, ONLY_CRYPT))
    assert [talk(world, 40_000 + number) for number in range(3)] == [None, "crypt", "crypt"]
    world.clock.run_for(600)
    assert [talk(world, 40_010 + number) for number in range(2)] == [None, "crypt"]


def test_a_host_that_speaks_neither() -> None:
    world = World(client=make_engine("c", AUTO))
    assert [talk(world, 40_000 + number) for number in range(3)] == [None] * 3
    assert offered(world) is None
    assert world.reasons(world.client)[2] == "nothing is offered"
    world.clock.run_for(600)
    assert talk(world, 40_010) is None
    # Which is TCP-ENO's, as long as a NEXTK1 though it is.
    assert (offered(world) or b"").startswith(b"\x23")


def test_a_forged_answer_has_no_effect_on_the_next_connection() -> None:
    world = World(client=make_engine("c", AUTO), server=make_engine("s"))
    assert talk(world, 40_000) == "eno"
    forger = strip(ENO_KIND, has_flags(SYN, SYN))
    world.link.filters.append(forger)
    assert talk(world, 40_001) is None
    world.link.filters.remove(forger)
    assert talk(world, 40_002) == "eno"


@pytest.mark.parametrize("suite", [ENO, ALL], ids=["eno", "crypt"])
def test_the_only_protocol_is_offered_each_time(suite: object) -> None:
    world = World(client=make_engine("c", suite))  # type: ignore[arg-type]
    for number in range(3):
        assert talk(world, 40_000 + number) is None
        assert offered(world) is not None


@pytest.mark.parametrize("value", [b"\x01\x23", b"\x02\x23\x24", b"\x03\x23", b"\x23"], ids=bytes.hex)
def test_an_offer_of_eno_is_never_taken_for_hello(value: bytes) -> None:
    """A global suboption can be HELLO's byte."""

    def with_value(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if not SYN_ALONE(crossing):
            return [crossing.packet]
        rest = b"".join(options.encode(*each) for each in segment.options if each[0] != ENO_KIND)
        return [segment.edited(option_area=options.pad(rest + options.encode(ENO_KIND, value)))]

    world = World(client=make_engine("c", ENO), server=make_engine("s"), filters=[with_value])
    world.open()
    world.clock.run_for(0.5)
    answer = next(each.segment for each in world.link.log if each.sender == "server")
    # To the same role there is no answer.
    assert answer.option(ENO_KIND) == (None if value in (b"\x01\x23", b"\x03\x23") else b"\x01\x23")


NEXTK1_AND_ENO = "84a4" + "00" * 5 + "232421"
"""NEXTK1 of the CRYPT protocol, or ENO with an offer (docs/rfc-conformance.md#where-the-rfcs-leave-room)."""


@pytest.mark.parametrize("answers", [None, ("crypt",), ("eno",)], ids=["both", "crypt", "eno"])
@pytest.mark.parametrize(
    ("value", "eno", "crypt"),
    [
        pytest.param("", "01", True, id="HELLO or vacuous"),
        pytest.param("01", "01", True, id="HELLO or vacuous with b"),
        pytest.param("02", "01", True, id="HELLO or vacuous with a"),
        pytest.param("00", "01", False, id="vacuous"),
        pytest.param("03", "01", False, id="vacuous with a and b"),
        pytest.param("0110", "01", False, id="vacuous with two global suboptions"),
        pytest.param(NEXTK1_AND_ENO, "0123", True, id="NEXTK1 or an offer"),
        pytest.param("84" + "11" * 9, None, True, id="NEXTK1"),
        pytest.param("23", "0123", False, id="an offer"),
        pytest.param("8423", None, False, id="neither"),
    ],
)
def test_who_answers_what(value: str, eno: str | None, crypt: bool, answers: tuple[str, ...] | None) -> None:
    """What can be read both ways is CRYPT's where that is spoken: as ENO it leads to nothing or to less."""

    def with_value(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if not SYN_ALONE(crossing):
            return [crossing.packet]
        rest = b"".join(options.encode(*each) for each in segment.options if each[0] != ENO_KIND)
        return [segment.edited(option_area=options.pad(rest + options.encode(ENO_KIND, bytes.fromhex(value))))]

    world = World(client=make_engine("c", ENO), server=make_engine("s", ALL, EngineConfig(answers=answers)))
    world.link.filters.append(with_value)
    world.open()
    world.clock.run_for(0.025)
    answer = next(each.segment for each in world.link.log if each.sender == "server").option(ENO_KIND)
    if crypt and answers != ("eno",):
        assert answer is not None
        assert RSA_2048.spec in answer
    else:
        assert answer == (None if eno is None or answers == ("crypt",) else bytes.fromhex(eno))


@pytest.mark.parametrize("value", ["", "00", "01", "02", "03"])
def test_a_vacuous_option_is_answered_and_the_connection_is_plain(value: str) -> None:
    """Each SYN ACK has it, as hosts must not alter it (RFC 8547 section 4.6)."""

    def with_value(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        if not SYN_ALONE(crossing):
            return [crossing.packet]
        area = options.pad(segment.option_area + options.encode(ENO_KIND, bytes.fromhex(value)))
        return [segment.edited(option_area=area)]

    world = World(server=make_engine("s", ENO, EngineConfig(answers=("eno",))))
    world.link.filters += [with_value, drop_nth(SYN_ACK, 1)]
    client, server = world.connect()
    world.exchange(client, server)
    sent = [each for each in world.link.log if each.sender == "server"]
    answers = [each.segment.option(ENO_KIND) for each in sent if SYN_ACK(each)]
    assert len(answers) > 1
    assert set(answers) == {b"\x01"}
    assert not any(each.segment.option(ENO_KIND) for each in sent if not SYN_ACK(each))
    assert world.reasons(world.server) == ["the peer's ENO option offers no TEP"]
    world.assert_plain()
