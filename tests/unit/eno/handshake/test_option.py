"""The TCP ENO option (RFC 8547 sections 4.1 to 4.4)."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tcpcryptd.eno.constants import NON_SYN
from tcpcryptd.eno.handshake import option
from tcpcryptd.eno.handshake.option import EnoOptionError, Suboption, SynOption
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import SYN, Segment, locate, make

TEPS = st.integers(0x20, 0x7F)
SUBOPTIONS = st.builds(Suboption, TEPS, st.none() | st.binary(max_size=34))
GLOBALS = st.integers(0, 0x1F)


def built(global_: int, suboptions: list[Suboption], ordered: bool) -> SynOption:
    try:
        return option.build(global_, suboptions, ordered=ordered)
    except EnoOptionError:
        assume(False)
        raise


def value_of(found: SynOption) -> bytes:
    ((kind, value),) = options.parse(found.raw)
    assert kind == 69
    return value


@given(GLOBALS, st.lists(SUBOPTIONS, max_size=5), st.booleans())
def test_round_trip(global_: int, suboptions: list[Suboption], ordered: bool) -> None:
    found = built(global_, suboptions, ordered)
    assert option.parse(value_of(found)) == found
    if ordered:
        assert found.suboptions == tuple(suboptions)
    assert sorted(found.suboptions, key=repr) == sorted(suboptions, key=repr)


@given(GLOBALS, st.lists(SUBOPTIONS, max_size=5))
def test_without_an_order_to_keep_it_is_never_longer(global_: int, suboptions: list[Suboption]) -> None:
    ordered = built(global_, suboptions, ordered=True)
    saved = len(ordered.raw) - len(option.build(global_, suboptions, ordered=False).raw)
    last_needs_none = not suboptions or suboptions[-1].data is not None
    assert saved == (0 if last_needs_none else int(any(entry.data is not None for entry in suboptions)))


@given(st.binary(max_size=38))
def test_any_bytes_parse_or_raise_the_typed_error(value: bytes) -> None:
    try:
        found = option.parse(value)
    except EnoOptionError:
        return
    assert value_of(found) == value
    assert all(0x20 <= entry.tep <= 0x7F for entry in found.suboptions)
    assert 0 <= found.global_ <= 0x1F
    assert option.build(found.global_, found.suboptions, ordered=True).suboptions == found.suboptions


@given(st.binary(max_size=38).filter(lambda value: bool(value) and max(value) < 0xA0))
def test_what_follows_a_length_byte_has_data(value: bytes) -> None:
    has_length_byte = any(0x80 <= byte < 0xA0 for byte in value)
    if has_length_byte:
        with pytest.raises(EnoOptionError):
            option.parse(value)
    else:
        assert [entry.tep for entry in option.parse(value).suboptions] == [byte for byte in value if byte >= 0x20]


def test_the_last_suboptions_data_extends_to_the_end() -> None:
    found = option.parse(bytes.fromhex("22a3") + bytes(range(17)))
    assert found.suboptions == (Suboption(0x22), Suboption(0x23, bytes(range(17))))
    assert option.parse(b"\xa3").suboptions == (Suboption(0x23, b""),)


def test_data_that_looks_like_suboptions_is_data() -> None:
    assert option.parse(b"\xa3\x22\x80\x01").suboptions == (Suboption(0x23, b"\x22\x80\x01"),)


@pytest.mark.parametrize("length", [1, 2, 31, 32])
def test_length_bytes(length: int) -> None:
    value = bytes((0x80 | length - 1, 0xA3)) + b"x" * length + b"\x21"
    assert option.parse(value).suboptions == (Suboption(0x23, b"x" * length), Suboption(0x21))
    assert value_of(option.build(0, option.parse(value).suboptions, ordered=True)) == value


@pytest.mark.parametrize("value", ["80", "80a3", "82a36161", "9fa3" + "61" * 31, "2380", "0180"])
def test_a_length_beyond_the_end(value: str) -> None:
    with pytest.raises(EnoOptionError, match="beyond the option's end"):
        option.parse(bytes.fromhex(value))


@pytest.mark.parametrize("following", [0x00, 0x01, 0x1F, 0x23, 0x7F, 0x80, 0x9F])
def test_a_length_byte_before_anything_but_a_tep_with_data(following: int) -> None:
    with pytest.raises(EnoOptionError, match=f"before 0x{following:02x}"):
        option.parse(bytes((0x80, following, 0xA3, 0x61)))


def test_only_the_first_global_suboption_counts() -> None:
    assert option.parse(b"\x01\x23\x02").global_ == 1
    assert option.parse(b"\x00\x03").global_ == 0
    assert option.parse(b"\x23\x1f\x01").global_ == 0x1F


def test_an_implicit_global_suboption_is_zero() -> None:
    found = option.parse(b"\x23")
    assert (found.global_, found.passive_role, found.application_aware) == (0, False, False)


@pytest.mark.parametrize("reserved", [0x00, 0x04, 0x08, 0x10, 0x1C])
def test_reserved_bits_are_ignored(reserved: int) -> None:
    for bits in range(4):
        found = option.parse(bytes((reserved | bits,)))
        assert (found.passive_role, found.application_aware) == (bool(bits & 1), bool(bits & 2))


@pytest.mark.parametrize("value", [b"", b"\x00", b"\x01", b"\x03\x02"])
def test_vacuous(value: bytes) -> None:
    assert option.parse(value).is_vacuous


def test_the_tep_byte_has_v() -> None:
    assert (Suboption(0x23).tep_byte, Suboption(0x23, b"").tep_byte) == (0x23, 0xA3)


def test_the_most_compact_form() -> None:
    suboptions = [Suboption(0x23, b"abc"), Suboption(0x24), Suboption(0x21)]
    assert option.build(0, suboptions, ordered=False).raw.hex() == "45082421a3616263"
    assert option.build(1, suboptions, ordered=True).raw.hex() == "450a0182a36162632421"


def test_data_that_no_length_byte_describes_comes_last() -> None:
    long = Suboption(0x24, b"x" * 33)
    assert option.build(0, [long, Suboption(0x23, b"a")], ordered=False).suboptions[-1] == long
    with pytest.raises(EnoOptionError, match="33 bytes in a suboption that is not the last"):
        option.build(0, [long, Suboption(0x23)], ordered=True)
    with pytest.raises(EnoOptionError, match="0 bytes in a suboption that is not the last"):
        option.build(0, [Suboption(0x23, b""), Suboption(0x24)], ordered=True)


@pytest.mark.parametrize("tep", [-1, 0, 0x1F, 0x80])
def test_what_is_no_tep_identifier(tep: int) -> None:
    with pytest.raises(EnoOptionError, match="TEP identifier"):
        option.build(0, [Suboption(tep)], ordered=True)


@pytest.mark.parametrize("global_", [-1, 0x20, 0x80])
def test_what_is_no_global_suboption(global_: int) -> None:
    with pytest.raises(EnoOptionError, match="global suboption"):
        option.build(global_, [], ordered=True)


def test_forty_bytes_at_most() -> None:
    assert len(option.build(1, [Suboption(0x23, bytes(36))], ordered=True).raw) == 40
    with pytest.raises(EnoOptionError, match="39 bytes of suboptions"):
        option.build(1, [Suboption(0x23, bytes(37))], ordered=True)


def segment(area: bytes) -> Segment:
    packet = make(bytes(12), sequence=7, acknowledgment=0, flags=SYN, window=9, option_area=options.pad(area))
    return Segment(packet, locate(packet)[0])


def test_read_gives_the_option_as_it_stood() -> None:
    found = option.read(segment(bytes.fromhex("020405b4 4505012224")).options)
    assert found == SynOption(1, (Suboption(0x22), Suboption(0x24)), bytes.fromhex("4505012224"))


@pytest.mark.parametrize(
    "area", ["", "020405b4", "450323 450323", "450323 4502", "450480a3"], ids=["none", "other", "two", "empty", "bad"]
)
def test_no_usable_option(area: str) -> None:
    assert option.read(segment(bytes.fromhex(area)).options) is None


def test_the_non_syn_form_is_its_presence() -> None:
    assert NON_SYN == b"\x45\x02"
    assert not option.is_present(segment(b"\x02\x04\x05\xb4").options)
    for area in (NON_SYN, NON_SYN * 2, b"\x45\x04\x80\xff"):
        assert option.is_present(segment(area).options)
