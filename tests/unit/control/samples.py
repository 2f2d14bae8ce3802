"""Generated messages and records."""

from hypothesis import strategies as st

from tcpcryptd.control.codec import MAX_ID
from tcpcryptd.records.address import Address
from tcpcryptd.records.connection_info import ConnectionInfo, ConnectionState, PeerInfo

ids = st.integers(0, MAX_ID)
addresses = st.builds(Address, st.ip_addresses().map(str), st.integers(0, 65535))
_text = st.none() | st.text(max_size=40)
_count = st.integers(0, 2**63)
peers = st.builds(PeerInfo, st.just("authenticated"), st.text(max_size=40), _text, _text) | st.builds(
    PeerInfo, st.sampled_from(["unknown", "absent", "first_use", "invalid"]), st.none(), _text, _text
)
records = st.builds(
    ConnectionInfo,
    local=addresses,
    remote=addresses,
    state=st.sampled_from(ConnectionState),
    protocol=_text,
    session_id=st.none() | st.binary(max_size=64),
    role=_text,
    suite=_text,
    resumed=st.booleans(),
    post_quantum=st.booleans(),
    peer_aware=st.booleans(),
    reason=_text,
    age=st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000),
    bytes_sent=_count,
    bytes_received=_count,
    peer=st.none() | peers,
    owner=st.none() | st.integers(0, 2**32 - 1),
)


def record(port: int = 80, state: str = "encrypted", reason: str | None = None) -> ConnectionInfo:
    """One connection with a known session ID."""
    return ConnectionInfo(
        local=Address("192.0.2.1", 40000),
        remote=Address("2001:db8::2", port),
        state=ConnectionState(state),
        protocol="crypt",
        session_id=bytes(range(20)) if state == "encrypted" else None,
        role="client",
        suite="AES128-CTR-SEQIV/HMAC-SHA1",
        resumed=False,
        peer_aware=False,
        reason=reason,
        age=1.5,
        bytes_sent=10,
        bytes_received=20,
    )
