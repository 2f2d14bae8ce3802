"""What two SYNs come to (RFC 8547 sections 4.2 to 4.8 and 6, RFC 8548 sections 3.2 and 3.5)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.eno.handshake import option
from tcpcryptd.eno.handshake.negotiation import Negotiated, NotNegotiated, Reason, Resumed, choose, negotiate
from tcpcryptd.eno.handshake.offer import Offer, Resumption, propose
from tcpcryptd.eno.handshake.option import EnoOptionError, Suboption, SynOption
from tcpcryptd.eno.role import EnoRole

X, Y, Z = 0x23, 0x24, 0x21
IDENTIFIER = bytes(range(1, 19))
OTHER = bytes(range(101, 119))
NONCE_A, NONCE_B = b"nonce  A", b"B"

SESSION_OF_A = Resumption(X, EnoRole.A, IDENTIFIER, NONCE_A)
"""At the host that was A when the session was made."""
SESSION_OF_B = Resumption(X, EnoRole.B, IDENTIFIER, NONCE_B)


def syn(*entries: Suboption | int, global_: int = 0) -> SynOption:
    suboptions = [entry if isinstance(entry, Suboption) else Suboption(entry) for entry in entries]
    return option.build(global_, suboptions, ordered=True)


def offer(
    *entries: Suboption | int, global_: int = 0, resumption: Resumption | None = None, require: bool = False
) -> Offer:
    return Offer(syn(*entries, global_=global_), resumption, require)


def negotiated(local: Offer, remote: SynOption | None) -> Negotiated:
    result = negotiate(local, remote)
    assert isinstance(result, Negotiated)
    return result


def reason(result: object) -> Reason:
    assert isinstance(result, NotNegotiated)
    return result.reason


def answer(received: SynOption, *teps: int, session: Resumption | None = None, space: int = 40) -> Offer:
    result = choose(received, teps, lambda tep, half: session, space=space)
    assert isinstance(result, Offer)
    return result


# The figures of RFC 8547 section 6.


def test_figure_9_successful_three_way_handshake() -> None:
    a = propose((X, Y))
    assert a is not None
    assert a.option.raw == bytes((69, 4, X, Y))
    b = answer(a.option, Y)
    assert b.option.raw == bytes((69, 4, 1, Y))
    transcript = a.option.raw + b.option.raw
    assert negotiate(a, b.option) == Negotiated(Y, Y, EnoRole.A, False, transcript, None)
    assert negotiate(b, a.option) == Negotiated(Y, Y, EnoRole.B, False, transcript, None)


def test_figure_10_1_the_passive_opener_does_not_answer() -> None:
    assert reason(negotiate(offer(X, Y), None)) is Reason.NO_OPTION


def test_figure_10_2_the_passive_opener_has_neither_tep() -> None:
    assert reason(choose(syn(X, Y), (Z,), lambda tep, half: None)) is Reason.NO_COMMON_TEP


def test_figure_10_3_the_passive_opener_requires_an_aware_application() -> None:
    assert reason(choose(syn(X, Y), (X,), lambda tep, half: None, require_aware=True)) is Reason.NOT_AWARE


def test_figure_11_the_answer_is_stripped() -> None:
    a = offer(X, Y)
    b = answer(a.option, X)
    assert negotiated(b, a.option).code == X
    assert reason(negotiate(a, option.read([]))) is Reason.NO_OPTION


def test_figure_12_simultaneous_open() -> None:
    a, b = offer(Y, X), offer(X, Y, Z, global_=1)
    ours, theirs = negotiated(a, b.option), negotiated(b, a.option)
    assert (ours.code, theirs.code) == (Y, Y)
    assert (ours.role, theirs.role) == (EnoRole.A, EnoRole.B)
    assert ours.transcript == theirs.transcript == a.option.raw + b.option.raw


# Roles and the global suboption (RFC 8547 sections 4.2, 4.3 and 4.6).


@pytest.mark.parametrize("bit", [0, 1])
def test_the_same_role_fails(bit: int) -> None:
    assert reason(negotiate(offer(X, global_=bit), syn(X, global_=bit))) is Reason.SAME_ROLE


def test_an_echo_of_the_own_option_fails() -> None:
    a = offer(X, Y)
    assert reason(negotiate(a, a.option)) is Reason.SAME_ROLE


def test_an_active_opener_with_the_passive_role_is_not_answered() -> None:
    a = propose((X,), passive_role=True)
    assert a is not None
    assert a.option.passive_role
    assert reason(choose(a.option, (X,), lambda tep, half: None)) is Reason.SAME_ROLE


def test_both_bits_are_zero_by_default() -> None:
    a = propose((X,))
    assert a is not None
    assert a.option.global_ == 0
    assert answer(a.option, X).option.global_ == 1


@pytest.mark.parametrize("aware", [False, True])
def test_both_ends_see_the_others_application(aware: bool) -> None:
    a = propose((X,), aware=aware)
    assert a is not None
    b = answer(a.option, X)
    assert negotiated(b, a.option).peer_aware is aware
    assert not negotiated(a, b.option).peer_aware


@pytest.mark.parametrize("aware", [False, True])
def test_mandatory_application_aware_mode(aware: bool) -> None:
    a = propose((X,), require_aware=True)
    assert a is not None
    assert a.option.application_aware
    b = choose(a.option, (X,), lambda tep, half: None, aware=aware)
    assert isinstance(b, Offer)
    result = negotiate(a, b.option)
    if aware:
        assert isinstance(result, Negotiated)
        assert result.peer_aware
    else:
        assert reason(result) is Reason.NOT_AWARE


def test_a_passive_opener_that_requires_an_aware_application_says_that_its_own_is() -> None:
    b = choose(syn(X, global_=2), (X,), lambda tep, half: None, require_aware=True)
    assert isinstance(b, Offer)
    assert b.option.raw == bytes((69, 4, 3, X))
    assert negotiated(b, syn(X, global_=2)).peer_aware


@pytest.mark.parametrize("reserved", [0x04, 0x08, 0x10])
def test_reserved_bits_change_nothing_but_the_transcript(reserved: int) -> None:
    plain = negotiated(offer(X), syn(X, global_=1))
    reserved_set = negotiated(offer(X), syn(X, global_=1 | reserved))
    assert replace(reserved_set, transcript=plain.transcript) == plain
    assert reserved_set.transcript != plain.transcript


# The negotiated TEP (RFC 8547 section 4.5).


@pytest.mark.parametrize(
    ("sent_by_a", "sent_by_b", "tep"),
    [
        ((X, Y), (Y, X), X),
        ((X, Y), (X, Y), Y),
        ((X, Y), (X, Y, Z), Y),
        ((Y,), (X, Y, Z), Y),
        ((X,), (Z, X), X),
    ],
)
def test_the_last_valid_tep_of_host_b(sent_by_a: tuple[int, ...], sent_by_b: tuple[int, ...], tep: int) -> None:
    a, b = offer(*sent_by_a), offer(*sent_by_b, global_=1)
    assert negotiated(a, b.option).code == negotiated(b, a.option).code == tep


@pytest.mark.parametrize(
    ("sent_by_a", "sent_by_b", "tep"), [((X, Y, Y), (X, Y), X), ((X, Y), (X, Y, Y), X), ((X, X), (X,), None)]
)
def test_a_repeated_tep_is_not_valid(sent_by_a: tuple[int, ...], sent_by_b: tuple[int, ...], tep: int | None) -> None:
    a, b = offer(*sent_by_a), offer(*sent_by_b, global_=1)
    for result in (negotiate(a, b.option), negotiate(b, a.option)):
        if tep is None:
            assert reason(result) is Reason.NO_COMMON_TEP
        else:
            assert isinstance(result, Negotiated)
            assert result.code == tep


def test_a_passive_opener_does_not_choose_a_repeated_tep() -> None:
    assert answer(syn(X, Y, X), X, Y).option.suboptions == (Suboption(Y),)


def test_no_common_tep() -> None:
    assert reason(negotiate(offer(X), syn(Y, global_=1))) is Reason.NO_COMMON_TEP


def test_vacuous_options() -> None:
    assert reason(negotiate(offer(X), syn(global_=1))) is Reason.VACUOUS
    assert reason(choose(syn(), (X,), lambda tep, half: None)) is Reason.VACUOUS
    assert reason(negotiate(offer(), syn(X, global_=1))) is Reason.NO_COMMON_TEP


def test_solely_the_tep_that_the_passive_opener_wishes() -> None:
    assert answer(syn(X, Y, Z), Z, Y).option.suboptions == (Suboption(Z),)


# Resumption (RFC 8548 section 3.5).


@pytest.mark.parametrize(
    ("active", "passive"), [(SESSION_OF_A, SESSION_OF_B), (SESSION_OF_B, SESSION_OF_A)], ids=["as before", "swapped"]
)
def test_resumption(active: Resumption, passive: Resumption) -> None:
    a = propose((X, Y), resumption=active)
    assert a is not None
    assert a.option.suboptions == (Suboption(Y), Suboption(X, active.local_half + active.nonce))
    asked: list[tuple[int, bytes]] = []

    def find(tep: int, half: bytes) -> Resumption:
        asked.append((tep, half))
        return passive

    b = choose(a.option, (Y, X), find)
    assert isinstance(b, Offer)
    assert asked == [(X, active.local_half)]
    assert b.option.raw == bytes((69, 13 + len(passive.nonce), 1, 0x80 | X)) + passive.local_half + passive.nonce
    ours, theirs = negotiated(a, b.option), negotiated(b, a.option)
    assert ours.resumed == Resumed(active, passive.nonce)
    assert theirs.resumed == Resumed(passive, active.nonce)
    # Nonces are in the order of the original roles, like the halves.
    assert ours.resumed.session_nonce == theirs.resumed.session_nonce == NONCE_A + NONCE_B
    assert (ours.tep_byte, theirs.tep_byte) == (0x80 | X, 0x80 | X)
    assert (ours.role, theirs.role) == (EnoRole.A, EnoRole.B)


def test_halves() -> None:
    assert SESSION_OF_A.local_half == SESSION_OF_B.remote_half == IDENTIFIER[:9]
    assert SESSION_OF_B.local_half == SESSION_OF_A.remote_half == IDENTIFIER[9:]


def test_no_nonces() -> None:
    a = propose((X,), resumption=replace(SESSION_OF_A, nonce=b""))
    assert a is not None
    b = answer(a.option, X, session=replace(SESSION_OF_B, nonce=b""))
    for result in (negotiated(a, b.option), negotiated(b, a.option)):
        assert result.resumed is not None
        assert result.resumed.session_nonce == b""


@pytest.mark.parametrize(("identifier", "nonce"), [(IDENTIFIER[1:], b""), (IDENTIFIER, bytes(9))])
def test_impossible_lengths(identifier: bytes, nonce: bytes) -> None:
    with pytest.raises(ValueError, match="identifier of"):
        Resumption(X, EnoRole.A, identifier, nonce)


def test_the_identifier_is_not_shown() -> None:
    assert repr(IDENTIFIER) not in repr(SESSION_OF_A)


def test_an_unknown_session_leads_to_a_key_exchange() -> None:
    a = propose((X, Y), resumption=SESSION_OF_A)
    assert a is not None
    b = answer(a.option, X)
    assert b.option.suboptions == (Suboption(X),)
    result = negotiated(a, b.option)
    assert (result.tep_byte, result.resumed) == (X, None)
    assert result == replace(negotiated(b, a.option), role=EnoRole.A)


@pytest.mark.parametrize(
    "session",
    [replace(SESSION_OF_B, identifier=OTHER), replace(SESSION_OF_B, code=Y), SESSION_OF_A],
    ids=["identifier", "tep", "role"],
)
def test_a_session_that_was_not_named_is_not_resumed(session: Resumption) -> None:
    a = offer(SESSION_OF_A.suboption)
    assert answer(a.option, X, session=session).option.suboptions == (Suboption(X),)


@pytest.mark.parametrize("size", range(9))
def test_data_that_is_too_short_counts_as_none(size: int) -> None:
    received = syn(Suboption(X, IDENTIFIER[:size]))

    def find(tep: int, half: bytes) -> Resumption:
        raise AssertionError

    b = choose(received, (X,), find)
    assert isinstance(b, Offer)
    assert b.option.suboptions == (Suboption(X),)
    assert negotiated(b, received).resumed is None


@pytest.mark.parametrize("size", range(9))
@pytest.mark.parametrize("resumption", [None, SESSION_OF_A], ids=["a key exchange", "a resumption"])
def test_data_of_host_b_that_names_no_session_is_ignored(resumption: Resumption | None, size: int) -> None:
    """It is neither a key exchange, which has v = 0, nor a session that both hosts named (RFC 8548 section 3.2)."""
    a = offer(X if resumption is None else resumption.suboption, resumption=resumption)
    short = Suboption(X, SESSION_OF_B.local_half[:size])
    assert reason(negotiate(a, syn(short, global_=1))) is Reason.NO_COMMON_TEP
    result = negotiated(a, syn(X, short, global_=1))
    assert (result.tep_byte, result.resumed) == (X, None)


def test_a_nonce_that_is_too_long_makes_the_tep_invalid() -> None:
    received = syn(Y, Suboption(X, IDENTIFIER[:9] + bytes(9)))
    assert answer(received, X, Y, session=SESSION_OF_B).option.suboptions == (Suboption(Y),)
    a = offer(SESSION_OF_A.suboption, resumption=SESSION_OF_A)
    remote = syn(Suboption(X, SESSION_OF_B.local_half + bytes(9)), global_=1)
    assert reason(negotiate(a, remote)) is Reason.NO_COMMON_TEP


@pytest.mark.parametrize(
    "half", [OTHER[9:], IDENTIFIER[:9], IDENTIFIER[9:17] + b"!"], ids=["other", "our own", "last byte"]
)
def test_a_resumption_that_does_not_fit_is_ignored(half: bytes) -> None:
    a = offer(Y, SESSION_OF_A.suboption, resumption=SESSION_OF_A)
    wrong = Suboption(X, half + NONCE_B)
    assert reason(negotiate(a, syn(wrong, global_=1))) is Reason.NO_COMMON_TEP
    assert negotiated(a, syn(Y, wrong, global_=1)).code == Y
    fresh = negotiated(a, syn(wrong, X, global_=1))
    assert (fresh.tep_byte, fresh.resumed) == (X, None)


def test_a_resumption_that_was_not_offered_is_ignored() -> None:
    remote = syn(SESSION_OF_B.suboption, global_=1)
    assert reason(negotiate(offer(X), remote)) is Reason.NO_COMMON_TEP
    assert reason(negotiate(offer(X, resumption=SESSION_OF_A), remote)) is Reason.NO_COMMON_TEP


def test_host_b_with_both_forms_of_a_tep() -> None:
    a = offer(SESSION_OF_A.suboption, resumption=SESSION_OF_A)
    assert reason(negotiate(a, syn(SESSION_OF_B.suboption, X, global_=1))) is Reason.NO_COMMON_TEP


def test_resumption_in_a_simultaneous_open() -> None:
    a = offer(Y, SESSION_OF_A.suboption, resumption=SESSION_OF_A)
    b = offer(Y, SESSION_OF_B.suboption, global_=1, resumption=SESSION_OF_B)
    ours, theirs = negotiated(a, b.option), negotiated(b, a.option)
    assert ours.resumed is not None
    assert theirs.resumed is not None
    assert ours.resumed.session_nonce == theirs.resumed.session_nonce


def test_different_sessions_in_a_simultaneous_open() -> None:
    a = offer(Y, SESSION_OF_A.suboption, resumption=SESSION_OF_A)
    other = replace(SESSION_OF_B, identifier=OTHER)
    b = offer(Y, other.suboption, global_=1, resumption=other)
    ours, theirs = negotiated(a, b.option), negotiated(b, a.option)
    assert (ours.code, ours.resumed) == (theirs.code, theirs.resumed) == (Y, None)


# Space for the option.


def test_what_fits() -> None:
    def sent(space: int, teps: tuple[int, ...] = (X, Y, Z), **more: bool) -> bytes | None:
        found = propose(teps, space=space, resumption=SESSION_OF_A, **more)
        return None if found is None else found.option.raw[2:]

    resumption = bytes((0x80 | X,)) + IDENTIFIER[:9] + NONCE_A
    assert sent(22) == bytes((Y, Z)) + resumption
    assert sent(21) == bytes((Y,)) + resumption
    assert sent(20) == resumption
    assert sent(19) == bytes((X, Y, Z))
    assert sent(20, aware=True) == bytes((2, X, Y, Z))
    assert sent(4) == bytes((X, Y))
    assert sent(2) is sent(0) is sent(40, teps=()) is None
    assert sent(40, teps=(Y,)) == bytes((Y,))


def test_an_offer_without_space_for_its_resumption_has_none() -> None:
    found = propose((X,), space=19, resumption=SESSION_OF_A)
    assert found == Offer(syn(X))


def test_an_answer_without_space_for_its_resumption() -> None:
    received = offer(SESSION_OF_A.suboption).option
    size = len(answer(received, X, session=SESSION_OF_B).option.raw)
    assert answer(received, X, session=SESSION_OF_B, space=size).resumption == SESSION_OF_B
    assert answer(received, X, session=SESSION_OF_B, space=size - 1) == offer(X, global_=1)
    assert reason(choose(received, (X,), lambda tep, half: None, space=3)) is Reason.NO_SPACE


# Generated.


def options_of(session: Resumption) -> st.SearchStrategy[tuple[Suboption, ...]]:
    data = st.none() | st.binary(max_size=20) | st.just(session.local_half + session.nonce)
    return st.lists(st.builds(Suboption, st.sampled_from((X, Y)), data), max_size=3).map(tuple)


@given(options_of(SESSION_OF_A), options_of(SESSION_OF_B), st.integers(0, 3), st.integers(0, 3))
def test_both_ends_come_to_the_same(
    ours: tuple[Suboption, ...], theirs: tuple[Suboption, ...], our_global: int, their_global: int
) -> None:
    try:
        a = offer(*ours, global_=our_global, resumption=SESSION_OF_A)
        b = offer(*theirs, global_=their_global, resumption=SESSION_OF_B)
    except EnoOptionError:
        return
    first, second = negotiate(a, b.option), negotiate(b, a.option)
    if isinstance(first, NotNegotiated) or isinstance(second, NotNegotiated):
        assert isinstance(first, NotNegotiated)
        assert isinstance(second, NotNegotiated)
        return
    assert {first.role, second.role} == {EnoRole.A, EnoRole.B}
    assert (first.tep_byte, first.transcript) == (second.tep_byte, second.transcript)
    assert (first.resumed is None) == (second.resumed is None)
    if first.resumed and second.resumed:
        assert first.resumed.session_nonce == second.resumed.session_nonce


@given(st.binary(max_size=38), st.booleans())
def test_any_option_of_a_peer(value: bytes, passive: bool) -> None:
    try:
        received = option.parse(value)
    except EnoOptionError:
        return
    if passive:
        chosen = choose(received, (X, Y), lambda tep, half: SESSION_OF_B)
        if isinstance(chosen, Offer):
            assert negotiated(chosen, received).code == chosen.option.suboptions[0].tep
    else:
        result = negotiate(offer(X, Y), received)
        if isinstance(result, Negotiated):
            assert result.code in {entry.tep for entry in received.suboptions}
            assert result.resumed is None
