import json

import pytest
from hypothesis import given

from tcpcryptd.records.connection_info import ConnectionInfo
from tests.unit.control.samples import record, records


@given(records)
def test_records_round_trip(sample: ConnectionInfo) -> None:
    assert ConnectionInfo.from_message(json.loads(json.dumps(sample.to_message()))) == sample


def test_what_a_later_daemon_adds_is_ignored() -> None:
    assert ConnectionInfo.from_message(record().to_message() | {"weather": "fine"}) == record()


def test_an_earlier_daemon_does_not_tell_the_owner() -> None:
    told = record().to_message()
    del told["owner"]
    assert ConnectionInfo.from_message(told) == record()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("local", None),
        ("remote", {"address": "192.0.2.1"}),
        ("state", "on"),
        ("state", None),
        ("protocol", 1),
        ("session_id", "0g"),
        ("session_id", 5),
        ("resumed", 1),
        ("peer_aware", None),
        ("age", "1"),
        ("age", True),
        ("age", float("nan")),
        ("age", -1.0),
        ("bytes_sent", -1),
        ("bytes_sent", True),
        ("bytes_received", 1.0),
        ("owner", "root"),
        ("owner", -1),
    ],
)
def test_a_wrong_field_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="not a "):
        ConnectionInfo.from_message(record().to_message() | {field: value})


@pytest.mark.parametrize(
    "peer",
    [
        {},
        [],
        {"outcome": "authenticated"},
        {"outcome": "unknown", "name": "web1"},
        {"outcome": 1, "name": "web1"},
        {"outcome": "authenticated", "name": "web1", "key": 5},
    ],
)
def test_a_peer_that_makes_no_sense(peer: object) -> None:
    with pytest.raises(ValueError, match="not a "):
        ConnectionInfo.from_message(record().to_message() | {"peer": peer})


def test_an_earlier_daemon_does_not_tell_of_post_quantum_keys() -> None:
    value = record().to_message()
    del value["post_quantum"]
    assert ConnectionInfo.from_message(value).post_quantum is False


def test_only_objects_are_records() -> None:
    with pytest.raises(ValueError, match="not a "):
        ConnectionInfo.from_message([])
