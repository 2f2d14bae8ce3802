"""Networks for the end-to-end tests, torn down whatever a test does."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Host, Network, pair, routed, single
from tests.e2e.harness.api import Api, At

TOOLS = ("ip", "iptables", "ip6tables", "tcpdump", "ss", "conntrack")

MakeNetwork = Callable[[int], Network]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def _root() -> None:
    """An error, not a skip: a run that tried nothing must not look like a success."""
    if os.geteuid() != 0:
        pytest.fail("the end-to-end tests need root: use `make e2e`, or deselect them with -m 'not e2e'")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.fail(f"missing: {', '.join(missing)} (scripts/setup.sh installs them)")


@pytest.fixture
def directory(_root: None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tcpcryptd-e2e-") as name:
        # The daemon's user has to reach its run directory.
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def _examined(hosts: list[Host]) -> Iterator[None]:
    """Shows the daemons' logs of a test that failed, and fails a test whose daemon raised."""
    try:
        yield
    finally:
        logs = {host.namespace.name: host.log_file.read_text() for host in hosts if host.log_file.exists()}
        for name, log in logs.items():
            print(f"--- tcpcryptd on {name}\n{log}")  # noqa: T201 (pytest shows it with a failure)
    for name, log in logs.items():
        assert "Traceback" not in log, f"tcpcryptd on {name} raised"
        assert "bug in tcpcryptd" not in log, f"tcpcryptd on {name} caught an exception of its own"


@pytest.fixture
def make_pair(directory: Path) -> Iterator[MakeNetwork]:
    """Two hosts on a wire of the given MTU."""
    with contextlib.ExitStack() as stack:

        def make(mtu: int) -> Network:
            network = stack.enter_context(pair(directory, mtu))
            stack.enter_context(_examined(network.hosts()))
            return network

        yield make


@pytest.fixture
def network(make_pair: MakeNetwork) -> Network:
    """Two hosts on a wire of MTU 1500, no daemons yet."""
    return make_pair(1500)


@pytest.fixture
def protocol() -> str:
    """What daemons offer, as `--protocol` takes it; `BOTH_PROTOCOLS` takes the place of this one."""
    return "crypt"


@pytest.fixture
def encrypted(network: Network, protocol: str) -> Network:
    """Two hosts with a daemon each, of that protocol."""
    for each in network.hosts():
        each.start_daemon("--protocol", protocol)
    return network


@pytest.fixture
def path(directory: Path) -> Iterator[Network]:
    """Two hosts with a router between them, no daemons yet."""
    with routed(directory) as network, _examined(network.hosts()):
        yield network


@pytest.fixture
def host(directory: Path) -> Iterator[Host]:
    """One host, no daemon yet."""
    with single(directory) as alone, _examined([alone]):
        yield alone


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """From now on the API talks to the daemon of a host."""

    def go(host: Host) -> None:
        monkeypatch.setenv("TCPCRYPTD_SOCKET", str(host.control_socket))

    return go


@pytest.fixture
def api(encrypted: Network, at: At) -> Api:
    return Api(encrypted, at)
