"""Suboptions of the experiment, beside those of RFC 8548 (docs/eno.md)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto.ecdhe import ECDHE_SCHEMES
from tcpcryptd.crypto.hybrid import MLKEM768_X25519
from tcpcryptd.eno.handshake import option, tep
from tcpcryptd.eno.handshake.negotiation import Negotiated, NotNegotiated, Reason, choose, negotiate
from tcpcryptd.eno.handshake.offer import Offer, Resumption, propose
from tcpcryptd.eno.handshake.option import Suboption
from tcpcryptd.eno.role import EnoRole

HYBRID = MLKEM768_X25519.code
X25519 = 0x23
EXTENDED_X25519 = 0x2023
"""X25519 within the experiment."""
ALL = (HYBRID, *(scheme.code for scheme in ECDHE_SCHEMES))
IDENTIFIER = bytes(range(1, 19))
OF_A = Resumption(HYBRID, EnoRole.A, IDENTIFIER, b"nonce  A")
OF_B = Resumption(HYBRID, EnoRole.B, IDENTIFIER, b"nonce  B")
LINUX = 21
"""Bytes that Linux's SYNs leave: MSS, window scale, SACK permitted and timestamps take 19."""

FOREIGN = pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"\x5f",
        b"\x5f\x7b",
        b"\x5f\x7a\x41",
        b"\x41",
        b"another experiment",
        b"\x5f\x7b\x41\x80",
        b"\x5f\x7b\x00\x00",
        b"\x5f\x7b\xc1short",
        b"\x5f\x7b\xc1" + bytes(6 + 9),
    ],
)


def no_session(code: int, half: bytes) -> None:
    assert len(half) == tep.half_length(code)


def octets(raw: str) -> bytes:
    return bytes.fromhex(raw)


def test_what_is_on_the_wire() -> None:
    offer = propose(ALL)
    assert offer is not None
    assert offer.option.raw == octets("45 0c 23 24 21 22 83 a0 5f7b 4100")
    answer = choose(offer.option, ALL, no_session)
    assert isinstance(answer, Offer)
    assert answer.option.raw == octets("45 07 01 a0 5f7b 41")
    transcript = offer.option.raw + answer.option.raw
    expected = Negotiated(HYBRID, 0xA0, EnoRole.A, False, transcript, None)
    assert negotiate(offer, answer.option) == expected
    assert negotiate(answer, offer.option) == replace(expected, role=EnoRole.B)


def test_a_resumption_on_the_wire() -> None:
    """With whole nonces and no more than Linux leaves, X25519 has room beside it."""
    offer = propose(ALL, resumption=OF_A, space=LINUX)
    assert offer is not None
    assert offer.option.raw == octets("45 15 23 a0 5f7b c1") + IDENTIFIER[:6] + b"nonce  A"
    answer = choose(offer.option, ALL, lambda code, half: OF_B, space=LINUX)
    assert isinstance(answer, Offer)
    assert answer.option.raw == octets("45 15 01 a0 5f7b c1") + IDENTIFIER[9:15] + b"nonce  B"
    for local, remote in ((offer, answer), (answer, offer)):
        result = negotiate(local, remote.option)
        assert isinstance(result, Negotiated)
        assert (result.code, result.tep_byte) == (HYBRID, 0xA0)
        assert result.resumed is not None
        assert result.resumed.session_nonce == b"nonce  Anonce  B"


def test_an_unknown_session_leads_to_the_same_key_exchange() -> None:
    offer = propose(ALL, resumption=OF_A, space=LINUX)
    assert offer is not None
    answer = choose(offer.option, ALL, no_session, space=LINUX)
    assert isinstance(answer, Offer)
    assert answer.option.raw == octets("45 07 01 a0 5f7b 41")
    result = negotiate(offer, answer.option)
    assert isinstance(result, Negotiated)
    assert (result.code, result.resumed) == (HYBRID, None)


@pytest.mark.parametrize("aware", [False, True])
def test_a_peer_that_does_not_know_the_experiment(aware: bool) -> None:
    for resumption, space in ((None, LINUX), (OF_A, LINUX + aware)):
        offer = propose(ALL, resumption=resumption, space=space, aware=aware)
        assert offer is not None
        answer = choose(offer.option, ALL[1:], no_session)
        assert isinstance(answer, Offer)
        assert answer.option.raw == octets("45 04 01 23")
        result = negotiate(offer, answer.option)
        assert isinstance(result, Negotiated)
        assert (result.code, result.tep_byte) == (X25519, X25519)


@FOREIGN
def test_another_use_of_the_tep(data: bytes | None) -> None:
    """It is ignored beside what is ours, and offers nothing by itself."""
    foreign = Suboption(0x20, data)
    assert tep.read(foreign) is None
    if data != b"":
        alone = option.build(0, (foreign,), ordered=True)
        assert choose(alone, ALL, no_session) == NotNegotiated(Reason.NO_COMMON_TEP)
        with_ours = option.build(0, (foreign, *tep.fresh(ALL)), ordered=True)
        answer = choose(with_ours, ALL, no_session)
        assert isinstance(answer, Offer)
        assert answer.option.raw == octets("45 07 01 a0 5f7b 41")
    offer = propose(ALL, resumption=OF_A)
    assert offer is not None
    assert negotiate(offer, option.build(1, (foreign,), ordered=True)) == NotNegotiated(Reason.NO_COMMON_TEP)


def test_two_of_ours_are_none() -> None:
    twice = option.build(0, (*tep.fresh((HYBRID,)), *tep.fresh((HYBRID, X25519))), ordered=True)
    answer = choose(twice, ALL, no_session)
    assert isinstance(answer, Offer)
    assert answer.option.raw == octets("45 04 01 23")


def test_several_agreements() -> None:
    """Host A offers both in one suboption, host B answers with one; in a simultaneous open its own order counts."""
    offer = propose((HYBRID, EXTENDED_X25519, X25519))
    assert offer is not None
    assert offer.option.raw == octets("45 09 23 83 a0 5f7b 4123")
    answer = choose(offer.option, (EXTENDED_X25519, HYBRID), no_session)
    assert isinstance(answer, Offer)
    assert answer.option.raw == octets("45 07 01 a0 5f7b 23")
    crossing = propose((EXTENDED_X25519, HYBRID), passive_role=True)
    assert crossing is not None
    for local, remote in ((offer, answer), (answer, offer), (offer, crossing), (crossing, offer)):
        result = negotiate(local, remote.option)
        assert isinstance(result, Negotiated)
        assert result.code == EXTENDED_X25519


@pytest.mark.parametrize("agreement", [0x23, 0x42])
def test_an_agreement_that_was_not_offered(agreement: int) -> None:
    answer = option.build(1, (Suboption(0x20, b"\x5f\x7b" + bytes((agreement,))),), ordered=True)
    for resumption in (None, OF_A):
        offer = propose((HYBRID, X25519), resumption=resumption)
        assert offer is not None
        assert negotiate(offer, answer) == NotNegotiated(Reason.NO_COMMON_TEP)


@pytest.mark.parametrize("half", [IDENTIFIER[:6], IDENTIFIER[9:14] + b"!", bytes(6)])
def test_a_half_that_does_not_fit_is_ignored(half: bytes) -> None:
    offer = propose((HYBRID, X25519), resumption=OF_A)
    assert offer is not None
    wrong = tep.resuming(HYBRID, half, b"nonce  B")
    assert negotiate(offer, option.build(1, (wrong,), ordered=True)) == NotNegotiated(Reason.NO_COMMON_TEP)
    result = negotiate(offer, option.build(1, (wrong, *tep.fresh((HYBRID,))), ordered=True))
    assert isinstance(result, Negotiated)
    assert (result.code, result.resumed) == (HYBRID, None)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (5, "45 05 23 24 21"),
        (7, "45 06 23 24 21 22"),
        (8, "45 08 83 a0 5f7b 4100"),
        (9, "45 09 23 83 a0 5f7b 4100"),
        (11, "45 0b 23 24 21 83 a0 5f7b 4100"),
        (12, "45 0c 23 24 21 22 83 a0 5f7b 4100"),
    ],
)
def test_the_best_has_the_first_claim_to_the_space(space: int, expected: str) -> None:
    offer = propose(ALL, space=space)
    assert offer is not None
    assert offer.option.raw == octets(expected)
    assert offer.has(HYBRID) == (space > 7)


def test_a_session_of_a_lesser_scheme_leaves_no_room_for_the_best() -> None:
    offer = propose(ALL, resumption=Resumption(X25519, EnoRole.A, IDENTIFIER, bytes(8)), space=LINUX)
    assert offer is not None
    assert offer.resumption is not None
    assert not offer.has(HYBRID)
    assert offer.has(X25519)
    wide = propose(ALL, resumption=Resumption(X25519, EnoRole.A, IDENTIFIER, bytes(8)))
    assert wide is not None
    assert wide.option.raw[2:11] == octets("24 21 22 83 a0 5f7b 4100")


def test_an_answer_that_does_not_fit_is_another() -> None:
    offer = propose(ALL)
    assert offer is not None
    answer = choose(offer.option, ALL, no_session, space=6)
    assert isinstance(answer, Offer)
    assert answer.option.raw == octets("45 04 01 23")
    assert choose(offer.option, ALL, no_session, space=3) == NotNegotiated(Reason.NO_SPACE)


@given(st.binary(max_size=24), st.binary(max_size=24), st.booleans())
def test_both_ends_come_to_the_same(from_a: bytes, from_b: bytes, ours: bool) -> None:
    prefix = b"\x5f\x7b" if ours else b""
    session = OF_A.suboption.data or b""
    for data_a, data_b in ((prefix + from_a, prefix + from_b), (session, prefix + from_b), (prefix + from_a, session)):
        if not data_a or not data_b:
            continue
        try:
            a = Offer(option.build(0, (Suboption(0x20, data_a), Suboption(X25519)), ordered=True), OF_A)
            b = Offer(option.build(1, (Suboption(X25519), Suboption(0x20, data_b)), ordered=True), OF_B)
        except option.EnoOptionError:
            continue
        first, second = negotiate(a, b.option), negotiate(b, a.option)
        assert isinstance(first, Negotiated)
        assert isinstance(second, Negotiated)
        assert (first.code, first.tep_byte, first.transcript) == (second.code, second.tep_byte, second.transcript)
        assert (first.resumed is None) == (second.resumed is None)
