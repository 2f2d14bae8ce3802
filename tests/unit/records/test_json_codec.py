"""What one process tells another of connections arrives as it was."""

import json
from dataclasses import fields, replace

import pytest

from tcpcryptd.control.socket_option import MAX_SPECS, SYMMETRIC_SPEC_SIZE
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo, ConnectionState
from tcpcryptd.core.hosts import HostInfo
from tcpcryptd.core.options import DEFAULT_OPTIONS, ClientMode, ConnectionOptions, Support
from tcpcryptd.crypto.mlkem768_x25519 import PUBLIC_KEY_LENGTH
from tcpcryptd.netio.workers.channel import MAX_MESSAGE
from tcpcryptd.netio.workers.worker import ROWS_PER_PAGE
from tcpcryptd.records.connection_info import PeerInfo
from tcpcryptd.records.json_codec import decode, encode

OPTIONS = ConnectionOptions(
    enabled=False,
    support=Support.MANDATORY,
    client_mode=ClientMode.ALWAYS,
    resumption_decides_role=True,
    secure_reset=True,
    cache=False,
    public_key_specs=(b"\x01\x02\x03", b"\xff"),
    client_ciphers=(b"\x00\x01\x00\x01",),
    server_ciphers=(),
    passive_role=True,
)
PLAIN = ConnectionInfo(
    Endpoint("192.0.2.1", 1), Endpoint("198.51.100.1", 65535), ConnectionState.PLAIN, reason="refused"
)
ENCRYPTED = ConnectionInfo(
    Endpoint("2001:db8::1", 1),
    Endpoint("2001:db8::2", 2),
    ConnectionState.CLOSED,
    protocol="eno",
    session_id=bytes(range(20)),
    role="client",
    suite="X25519/AES-128-GCM",
    resumed=True,
    post_quantum=True,
    peer_aware=True,
    started=12.75,
    bytes_sent=1 << 40,
    bytes_received=7,
    public_key=b"key",
    public_key_spec=b"\x21",
    symmetric_spec=b"\x01",
    generation=255,
    options=OPTIONS,
    peer=PeerInfo("authenticated", "web1", "SHA256:x", "why"),
    age=2.5,
    owner=1000,
    last_seen=13.25,
)


def test_the_samples_differ_from_the_defaults_in_every_field() -> None:
    assert all(getattr(OPTIONS, field.name) != field.default for field in fields(ConnectionOptions))
    assert all(
        getattr(ENCRYPTED, field.name) != field.default for field in fields(ConnectionInfo) if field.name != "reason"
    )


def test_a_page_of_the_largest_records_fits_a_message() -> None:
    specs = (bytes(SYMMETRIC_SPEC_SIZE),) * MAX_SPECS
    options = replace(OPTIONS, public_key_specs=specs, client_ciphers=specs, server_ciphers=specs)
    largest = replace(ENCRYPTED, public_key=bytes(PUBLIC_KEY_LENGTH), session_id=bytes(64), options=options)
    size = len(json.dumps(encode(largest)))
    assert size > 2 * PUBLIC_KEY_LENGTH
    assert ROWS_PER_PAGE * (size + 2) + 100 < MAX_MESSAGE


@pytest.mark.parametrize("info", [PLAIN, ENCRYPTED])
def test_connections(info: ConnectionInfo) -> None:
    copy = decode(ConnectionInfo, json.loads(json.dumps(encode(info))))
    assert copy == info
    assert isinstance(copy.local, Endpoint)
    assert copy.state is info.state


@pytest.mark.parametrize("options", [DEFAULT_OPTIONS, OPTIONS])
def test_options(options: ConnectionOptions) -> None:
    copy = decode(ConnectionOptions, json.loads(json.dumps(encode(options))))
    assert copy == options
    assert isinstance(copy.support, Support)
    assert isinstance(copy.client_mode, ClientMode)


def test_hosts() -> None:
    host = HostInfo("192.0.2.1", PeerInfo("changed", None, "SHA256:x", "why"), 12.5)
    assert decode(HostInfo, json.loads(json.dumps(encode(host)))) == host
    longest = HostInfo(
        "2001:db8:1111:2222:3333:4444:5555:6666", PeerInfo("authenticated", "x" * 253, None, "y" * 600), 1.0
    )
    assert len(json.dumps([1, True, [[encode(longest)] * ROWS_PER_PAGE, 1 << 60]])) < MAX_MESSAGE
