"""A path that swallows SYNs with the option costs the first connection seconds, and the next ones nothing."""

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.protocol import SWALLOWED
from tests.machine.endpoint import Behaviour
from tests.machine.link import SYN_ACK, SYN_ALONE, Conditions, Crossing, all_of, drop, drop_nth, has_option, sent_by
from tests.machine.world import ALL, AUTO, EACH_PROTOCOL, ENO, Suite, World, make_engine

OFFER = all_of(SYN_ALONE, has_option(69))
AT_ONCE = 4 * Conditions().delay
SUITES = pytest.mark.parametrize("suite", [ALL, ENO, AUTO], ids=["crypt", "eno", "auto"])
HOST = "SYNs with the option get no answer from this host"


class Path:
    """A world whose path swallows until it is mended."""

    def __init__(self, suite: Suite, swallowed: Callable[[Crossing], bool] = OFFER, **config: object) -> None:
        self.closed = True
        self.world = World(
            client=make_engine("c", suite, EngineConfig(**config)),  # type: ignore[arg-type]
            server=make_engine("s", suite),
            filters=[drop(lambda crossing: self.closed and swallowed(crossing))],
        )
        self._port = 40_000
        self._seen = 0

    def connect(self, behaviour: Behaviour | None = None) -> float:
        """Seconds until a connection is open; it has worked then, and is over."""
        self._port += 1
        start = self.world.clock.now
        client, server = self.world.connect(port=self._port, behaviour=behaviour)
        seconds = self.world.clock.now - start
        self.world.exchange(client, server, 2000)
        self.world.close(client, server)
        return seconds

    @property
    def reason(self) -> str | None:
        """Why the last connection is plain; None: it is not."""
        reasons = self.world.reasons(self.world.client)[self._seen :]
        self._seen += len(reasons)
        return reasons[-1] if reasons else None

    def counters(self) -> dict[str, int]:
        return self.world.client.daemon.counters()


@SUITES
def test_the_second_connection_costs_nothing(suite: Suite) -> None:
    path = Path(suite)
    assert path.connect() > 2
    assert path.reason == SWALLOWED
    for _ in range(3):
        assert path.connect() <= AT_ONCE
        assert path.reason == HOST
    assert path.counters()["offers_swallowed"] == path.counters()["black_hole_hosts"] == 1
    assert path.counters()["offers_withheld"] == 3
    path.world.assert_plain()


@SUITES
def test_one_connection_tries_again_and_again(suite: Suite) -> None:
    path = Path(suite)
    path.connect()
    for minutes in (1, 2, 4):
        path.world.clock.run_for(60 * minutes - 30)
        assert path.connect() <= AT_ONCE
        path.world.clock.run_for(30)
        assert path.connect() > 2
        assert path.connect() <= AT_ONCE
    path.world.assert_plain()


@SUITES
def test_the_path_is_mended(suite: Suite) -> None:
    path = Path(suite)
    path.connect()
    path.closed = False
    assert path.connect() <= AT_ONCE
    assert path.reason == HOST
    path.world.clock.run_for(60)
    for _ in range(2):
        path.connect()
        assert path.reason is None
    assert path.counters()["black_hole_hosts"] == 0


@SUITES
def test_a_host_that_is_down_is_no_black_hole(suite: Suite) -> None:
    path = Path(suite, sent_by("client"))
    path.world.open(port=39_999)
    path.world.clock.run_for(100)
    assert path.counters()["black_hole_hosts"] == 0
    path.closed = False
    path.connect()
    assert path.reason is None


@SUITES
def test_a_peer_that_was_encrypted_with_is_not_left_for_long(suite: Suite) -> None:
    """Two SYNs lost by chance: ten seconds."""
    path = Path(suite)
    path.closed = False
    path.connect()
    assert path.reason is None
    path.world.link.filters.append(drop_nth(OFFER, 1, 2))
    path.connect()
    assert path.reason == SWALLOWED
    path.connect()
    assert path.reason == HOST
    path.world.clock.run_for(10)
    path.connect()
    assert path.reason is None


@SUITES
def test_one_lost_syn_changes_nothing(suite: Suite) -> None:
    path = Path(suite)
    path.closed = False
    for _ in range(3):
        path.world.link.filters[1:] = [drop_nth(OFFER, 1)]
        path.connect()
        assert path.reason is None
    path.world.link.filters[1:] = [drop_nth(SYN_ACK, 1)]
    path.connect()
    assert path.reason is None
    assert path.counters()["black_hole_hosts"] == 0


@SUITES
def test_answers_with_the_option_are_swallowed(suite: Suite) -> None:
    path = Path(suite, all_of(SYN_ACK, has_option(69)))
    assert path.connect() >= 1
    for _ in range(2):
        assert path.connect() <= AT_ONCE
        assert path.reason == HOST
    path.world.assert_plain()


@SUITES
def test_a_peer_without_a_daemon_is_offered_again(suite: Suite) -> None:
    """It answers, and one of its connections may have been the attacker's."""
    world = World(client=make_engine("c", suite))
    world.connect()
    assert world.client.daemon.counters()["black_hole_hosts"] == 0


@EACH_PROTOCOL
def test_a_required_destination_is_offered_every_time(suite: Suite) -> None:
    path = Path(suite)
    path.connect()
    strict = make_engine("strict", suite, EngineConfig(required=(ip_network("10.0.0.2/32"),)))
    path.world.client.engine = strict
    for _ in range(2):
        client = path.world.open(port=41_000)
        path.world.clock.run_for(20)
        assert not client.received
        assert not path.world.server.stack.accepted[1:]
        client.abort()
    path.closed = False
    client, server = path.world.connect(port=41_001)
    path.world.exchange(client, server, 2000)
    ours, theirs = path.world.session_ids()
    assert ours == theirs is not None


@SUITES
def test_nobody_listens_behind_the_black_hole(suite: Suite) -> None:
    """The bare SYN's answer can be an RST: the next connection is refused at once."""
    path = Path(suite)
    path.world.server.stack._listening.clear()
    for least, most in ((2, 4), (0, AT_ONCE)):
        start = path.world.clock.now
        client = path.world.open(port=42_000)
        assert path.world.clock.run_until(lambda client=client: client.error is not None, 10)  # type: ignore[misc]
        assert client.error == "refused"
        assert least <= path.world.clock.now - start <= most


@SUITES
def test_what_is_withheld_is_the_kernels_own_syn(suite: Suite) -> None:
    """Fast Open included."""
    path = Path(suite)
    path.connect()
    path.connect(Behaviour(extra_options=b"\x22\x0aa cookie", syn_data=b""))
    syn = [crossing.segment for crossing in path.world.link.log if SYN_ALONE(crossing)][-1]
    assert syn.option(34) == b"a cookie"
    assert syn.option(69) is None
