"""Hosts made of network namespaces, joined by veth pairs, each with its own daemon, /run and captures."""

from tests.e2e.harness.capture import Capture, Segment
from tests.e2e.harness.daemon import Daemon
from tests.e2e.harness.diversion import FLUSH, divert_as, diverted_inwards
from tests.e2e.harness.host import Host, Session
from tests.e2e.harness.network import Network, pair, routed, single
from tests.e2e.harness.process import HarnessError, wait_until
from tests.e2e.harness.proof import (
    BOTH_PROTOCOLS,
    FAMILIES,
    MARKER,
    SESSION_ID_LENGTHS,
    assert_encrypted,
    assert_plain,
    assert_session,
    assert_stays_plain,
    assert_works,
    same_session,
)
from tests.e2e.harness.traffic import dialogue, echo_server, exchange, read_all, read_exactly, serve

__all__ = [
    "BOTH_PROTOCOLS",
    "FAMILIES",
    "FLUSH",
    "MARKER",
    "SESSION_ID_LENGTHS",
    "Capture",
    "Daemon",
    "HarnessError",
    "Host",
    "Network",
    "Segment",
    "Session",
    "assert_encrypted",
    "assert_plain",
    "assert_session",
    "assert_stays_plain",
    "assert_works",
    "dialogue",
    "divert_as",
    "diverted_inwards",
    "echo_server",
    "exchange",
    "pair",
    "read_all",
    "read_exactly",
    "routed",
    "same_session",
    "serve",
    "single",
    "wait_until",
]
