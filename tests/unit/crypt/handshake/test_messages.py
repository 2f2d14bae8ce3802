"""INIT1 and INIT2 (docs/crypt-option.md section 2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypt.handshake.messages import Init1, Init2, MessageError, split_specs

FIELD = st.binary(max_size=200).map(lambda items: len(items).to_bytes(2, "big") + items) | st.just(b"")
INIT1 = st.builds(
    Init1,
    st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=5).map(b"".join),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=3, max_size=3),
    st.binary(min_size=1, max_size=300),
    FIELD,
)
INIT2 = st.builds(Init2, st.binary(min_size=4, max_size=4), st.binary(max_size=300), FIELD)


@given(INIT1)
def test_init1_round_trip(message: Init1) -> None:
    assert Init1.decode(message.encode()) == message


@given(INIT2)
def test_init2_round_trip(message: Init2) -> None:
    assert Init2.decode(message.encode()) == message


@given(INIT1, INIT2)
def test_every_truncation_and_what_is_added(init1: Init1, init2: Init2) -> None:
    for kind, encoded in ((Init1, init1.encode()), (Init2, init2.encode())):
        whole = len(encoded) - len(init1.extension_field if kind is Init1 else init2.extension_field)
        for message in [*(encoded[:length] for length in range(len(encoded)) if length != whole), encoded + b"\0"]:
            with pytest.raises(MessageError):
                kind.decode(message)


@given(st.binary(max_size=400))
def test_any_bytes(message: bytes) -> None:
    for kind in (Init1, Init2):
        try:
            decoded = kind.decode(message)
        except MessageError:
            continue
        assert len(decoded.encode()) == len(message)


@given(INIT1, INIT2, st.data())
def test_any_change(init1: Init1, init2: Init2, data: st.DataObject) -> None:
    for kind, encoded in ((Init1, init1.encode()), (Init2, init2.encode())):
        changed = bytearray(encoded)
        changed[data.draw(st.integers(0, min(len(changed), 12) - 1))] = data.draw(st.integers(0, 255))
        try:
            kind.decode(bytes(changed))
        except MessageError:
            continue


@pytest.mark.parametrize(
    "header",
    [
        "0002 0001 0010 0001",
        "0001 0000 0010 0001",
        "0001 0001 000f 0001",
        "0001 0001 0010 0000",
        "0001 ffff 0010 0001",
        "0001 0001 ffff 0001",
        "0001 0001 0010 ffff",
    ],
)
def test_init1_lengths_that_do_not_add_up(header: str) -> None:
    body = bytes(4) + bytes(16) + bytes(4) + bytes(1)
    with pytest.raises(MessageError):
        Init1.decode(bytes.fromhex(header) + body)


@given(st.binary(max_size=30), st.sampled_from([3, 4]))
def test_split_specs(specs: bytes, size: int) -> None:
    if len(specs) % size:
        with pytest.raises(MessageError):
            split_specs(specs, size)
    else:
        assert b"".join(split_specs(specs, size)) == specs
