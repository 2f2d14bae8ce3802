"""Data in SYNs with an ENO option (RFC 8547 section 4.7)."""

import pytest

from tcpcryptd.eno import option
from tcpcryptd.eno.negotiation import NotNegotiated, Reason, negotiate
from tcpcryptd.eno.offer import Offer
from tcpcryptd.eno.option import Suboption
from tcpcryptd.eno.syn_data import discard_syn_data, may_offer, must_abort

X, Y = 0x23, 0x24
SENT = option.build(0, (Suboption(X), Suboption(Y)), ordered=True)
RECEIVED = (69, SENT.raw[2:])
PLAIN = NotNegotiated(Reason.NO_OPTION)
DEFINED = frozenset((X, Y))
COOKIE = (34, b"cookie")


NEGOTIATED = {tep: negotiate(Offer(SENT), option.build(1, (Suboption(tep),), ordered=True)) for tep in (X, Y)}


@pytest.mark.parametrize(
    ("options", "tep", "defined", "discarded"),
    [
        ([RECEIVED], None, DEFINED, True),
        ([RECEIVED], X, DEFINED, True),
        ([RECEIVED], Y, DEFINED, False),
        ([RECEIVED], Y, frozenset(), True),
        ([RECEIVED, COOKIE], Y, DEFINED, True),
        ([RECEIVED, (254, b"\xf9\x89cookie")], Y, DEFINED, True),
        ([RECEIVED, (34, b"")], Y, DEFINED, False),
        ([RECEIVED, (254, b"\xf9\x89")], Y, DEFINED, False),
        ([RECEIVED, (254, b"otherwise")], Y, DEFINED, False),
        ([RECEIVED, RECEIVED], None, DEFINED, True),
        ([(69, b"\x80")], None, DEFINED, True),
        ([(69, b"")], None, DEFINED, True),
        ([COOKIE], None, DEFINED, False),
        ([], None, DEFINED, False),
    ],
)
def test_what_is_discarded(
    options: list[tuple[int, bytes]], tep: int | None, defined: frozenset[int], discarded: bool
) -> None:
    assert discard_syn_data(options, PLAIN if tep is None else NEGOTIATED[tep], defined) is discarded


def test_tcpcrypt_never_takes_data_from_a_syn() -> None:
    assert all(discard_syn_data([RECEIVED], result) for result in NEGOTIATED.values())


@pytest.mark.parametrize(
    ("tep", "acknowledged", "answered", "aborts"),
    [
        (Y, True, True, False),
        (Y, False, True, False),
        (X, True, True, True),
        (X, False, True, False),
        (None, True, True, True),
        (None, False, True, False),
        (None, False, False, True),
        (None, True, False, True),
    ],
)
def test_what_aborts(tep: int | None, acknowledged: bool, answered: bool, aborts: bool) -> None:
    result = PLAIN if tep is None else NEGOTIATED[tep]
    assert must_abort(SENT, result, acknowledged=acknowledged, answered=answered) is aborts


def test_no_data_is_sent_with_an_offer() -> None:
    assert may_offer([(2, b"\x05\xb4"), (34, b"")], 0)
    assert not may_offer([(2, b"\x05\xb4")], 1)
    assert not may_offer([COOKIE], 0)
