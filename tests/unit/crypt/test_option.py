"""CRYPT suboptions (docs/crypt-option.md section 1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypt import option
from tcpcryptd.crypt.constants import Opcode
from tcpcryptd.crypt.option import HELLO, CryptOptionError, Suboption
from tcpcryptd.wire import options

BODIES = {
    **dict.fromkeys((Opcode.PKCONF, Opcode.PKCONF_SUPPORT), st.binary(max_size=30)),
    Opcode.REKEY: st.binary(min_size=5, max_size=5),
    **dict.fromkeys((Opcode.NEXTK1, Opcode.NEXTK1_SUPPORT), st.binary(min_size=9, max_size=9)),
}
SUBOPTIONS = st.sampled_from(list(Opcode)).flatmap(
    lambda opcode: st.builds(Suboption, st.just(opcode), BODIES.get(opcode, st.just(b"")))
)


@given(SUBOPTIONS)
def test_round_trip(suboption: Suboption) -> None:
    ((kind, value),) = options.parse(option.encode(suboption))
    assert kind == 69
    assert option.parse(value) == [suboption]


@given(st.lists(SUBOPTIONS.filter(lambda entry: entry.opcode != Opcode.HELLO), min_size=1, max_size=4))
def test_several(suboptions: list[Suboption]) -> None:
    values = b"".join(options.parse(option.encode(entry))[0][1] for entry in suboptions)
    assert option.parse(values) == suboptions


@given(SUBOPTIONS.filter(lambda entry: entry.opcode > 0x3F))
def test_every_truncation(suboption: Suboption) -> None:
    ((_, value),) = options.parse(option.encode(suboption))
    for length in range(1, len(value)):
        with pytest.raises(CryptOptionError):
            option.parse(value[:length])


@given(st.binary(max_size=40))
def test_any_bytes_parse_or_raise_the_typed_error(value: bytes) -> None:
    try:
        found = option.parse(value)
    except CryptOptionError:
        return
    assert all(entry.opcode in set(Opcode) for entry in found)


@pytest.mark.parametrize("value", [b"\x3f", b"\x10", b"\x7f\x04ab", b"\x50\x02"])
def test_unknown_suboptions_are_skipped(value: bytes) -> None:
    assert option.parse(value + b"\x02") == [Suboption(Opcode.HELLO_SUPPORT)]


@pytest.mark.parametrize("value", [b"\x80", b"\x90abc", b"\xff", b"\x41\x01", b"\x41\x00", b"\x01\x86"])
def test_no_knowable_length(value: bytes) -> None:
    with pytest.raises(CryptOptionError):
        option.parse(value)


def test_hello_is_empty() -> None:
    assert option.encode(HELLO) == b"\x45\x02"
    assert option.parse(b"") == option.parse(b"\x01") == [HELLO]


@given(st.binary(max_size=40), SUBOPTIONS)
def test_append_fits_or_is_refused(area: bytes, suboption: Suboption) -> None:
    result = option.append(area, suboption)
    if result is None:
        assert len(area) + len(option.encode(suboption)) > 40
    else:
        assert len(result) % 4 == 0
        assert result.startswith(area + option.encode(suboption))
