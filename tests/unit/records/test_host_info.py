import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.records.host_info import HostInfo
from tests.unit.control.samples import peers

SAMPLES = st.builds(
    HostInfo,
    st.ip_addresses().map(str),
    peers,
    st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000),
    st.integers(0, 2**20),
)
TOLD = {"address": "192.0.2.1", "peer": {"outcome": "absent"}, "last_seen": 1.5, "connections": 2}


@given(SAMPLES)
def test_records_round_trip(sample: HostInfo) -> None:
    assert HostInfo.from_message(json.loads(json.dumps(sample.to_message() | {"weather": "fine"}))) == sample


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        TOLD | {"peer": None},
        TOLD | {"peer": {}},
        TOLD | {"peer": {"outcome": "authenticated"}},
        TOLD | {"address": "web1"},
        TOLD | {"last_seen": -1},
        TOLD | {"last_seen": True},
        TOLD | {"last_seen": float("inf")},
        TOLD | {"connections": 1.5},
        TOLD | {"connections": -1},
        TOLD | {"connections": True},
    ],
)
def test_a_wrong_field_is_refused(wrong: object) -> None:
    assert HostInfo.from_message(TOLD).connections == 2
    with pytest.raises(ValueError, match="not a "):
        HostInfo.from_message(wrong)
