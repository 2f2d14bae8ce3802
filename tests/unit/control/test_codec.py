import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.control.codec import (
    MAX_ID,
    MAX_LINE,
    Refusal,
    Request,
    Result,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from tcpcryptd.control.errors import (
    BadArgument,
    BadMessage,
    ControlProtocolError,
    MessageTooLong,
    UnknownCommand,
    UnsupportedVersion,
)
from tests.unit.control.samples import addresses, ids

requests = (
    st.builds(Request, ids, st.just("sessions"), st.fixed_dictionaries({"all": st.booleans()}))
    | st.builds(Request, ids, st.just("session"), st.fixed_dictionaries({"local": addresses, "remote": addresses}))
    | st.builds(Request, ids, st.just("counters"))
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
results = st.builds(Result, ids, st.dictionaries(st.text(), st.integers(), max_size=4), st.booleans())
refusals = st.builds(Refusal, st.none() | ids, st.text(max_size=20), st.text(max_size=100))


@given(requests)
def test_requests_round_trip(request: Request) -> None:
    line = encode_request(request)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_request(line[:-1]) == request


@given(results | refusals)
def test_replies_round_trip(reply: Result | Refusal) -> None:
    line = encode_reply(reply)
    assert line.count(b"\n") == 1
    assert decode_reply(line[:-1]) == reply


@given(st.binary(max_size=200))
def test_garbage_gives_typed_errors(line: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_request(line)
    with pytest.raises(ControlProtocolError):
        decode_reply(line)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "version": st.just(1) | json_values,
            "id": ids | json_values,
            "command": st.sampled_from(["sessions", "session", "counters"]) | json_values,
            "all": json_values,
            "local": json_values | st.fixed_dictionaries({"address": json_values, "port": json_values}),
            "remote": json_values,
            "result": json_values,
            "error": json_values | st.fixed_dictionaries({"errno": json_values, "message": json_values}),
            "more": json_values,
        },
    )
)
def test_wrong_types_give_typed_errors(message: Mapping[str, object]) -> None:
    line = json.dumps(message).encode()
    try:
        assert decode_request(line).command == message["command"]
    except BadMessage as error:
        assert error.request_id is None or error.request_id == message["id"]  # noqa: PT017 (either outcome is right)
    try:
        assert decode_reply(line).id == message.get("id")
    except ControlProtocolError as error:
        assert "not a reply" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("line", "kind", "request_id"),
    [
        (b"", BadMessage, None),
        (b"[]", BadMessage, None),
        (b"[" * 60_000, BadMessage, None),
        (b'{"id":' + b"9" * 5000 + b"}", BadMessage, None),
        (b'{"version":1,"command":"counters"}', BadMessage, None),
        (b'{"version":1,"id":-1,"command":"counters"}', BadMessage, None),
        (b'{"version":1,"id":true,"command":"counters"}', BadMessage, None),
        (b'{"version":1,"id":1.0,"command":"counters"}', BadMessage, None),
        (b'{"version":1,"id":%d,"command":"counters"}' % (MAX_ID + 1), BadMessage, None),
        (b'{"id":4,"command":"counters"}', UnsupportedVersion, 4),
        (b'{"version":2,"id":4,"command":"counters"}', UnsupportedVersion, 4),
        (b'{"version":true,"id":4,"command":"counters"}', UnsupportedVersion, 4),
        (b'{"version":1,"id":4}', UnknownCommand, 4),
        (b'{"version":1,"id":4,"command":["counters"]}', UnknownCommand, 4),
        (b'{"version":1,"id":4,"command":"reboot"}', UnknownCommand, 4),
        (b'{"version":1,"id":4,"command":"counters","verbose":true}', BadArgument, 4),
        (b'{"version":1,"id":4,"command":"sessions","all":1}', BadArgument, 4),
        (b'{"version":1,"id":4,"command":"session"}', BadArgument, 4),
        (b'{"version":1,"id":4,"command":"counters","a":"' + b"x" * MAX_LINE + b'"}', MessageTooLong, None),
    ],
)
def test_bad_requests(line: bytes, kind: type[BadMessage], request_id: int | None) -> None:
    with pytest.raises(BadMessage) as caught:
        decode_request(line)
    assert type(caught.value) is kind
    assert caught.value.request_id == request_id


@pytest.mark.parametrize(
    "address",
    [
        {},
        {"address": "192.0.2.1"},
        {"address": "192.0.2.1", "port": 80, "zone": 1},
        {"address": "192.0.2.1", "port": "80"},
        {"address": "192.0.2.1", "port": True},
        {"address": "192.0.2.1", "port": 65536},
        {"address": "192.0.2.1", "port": -1},
        {"address": "192.0.2.256", "port": 80},
        {"address": "example.org", "port": 80},
        {"address": 1, "port": 80},
        "192.0.2.1:80",
    ],
)
def test_bad_addresses(address: object) -> None:
    request = {"version": 1, "id": 1, "command": "session", "local": address, "remote": address}
    with pytest.raises(BadArgument, match="local"):
        decode_request(json.dumps(request).encode())


def test_the_default_is_filled_in() -> None:
    assert decode_request(b'{"version":1,"id":1,"command":"sessions"}').arguments == {"all": False}


def test_an_address_is_written_in_one_way() -> None:
    end = {"address": "2001:DB8:0:0::1", "port": 1}
    line = json.dumps({"version": 1, "id": 1, "command": "session", "local": end, "remote": end}).encode()
    assert str(decode_request(line).arguments["local"]) == "[2001:db8::1]:1"


@pytest.mark.parametrize("request_", [Request(1, "reboot"), Request(1, "counters", {"all": True})])
def test_what_cannot_be_asked_is_not_sent(request_: Request) -> None:
    with pytest.raises((UnknownCommand, BadArgument)):
        encode_request(request_)


def test_a_reply_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(MessageTooLong):
        encode_reply(Result(1, {"text": "x" * MAX_LINE}))
