"""A router that proves who it is on behalf of the hosts behind it, and checks for them who others are."""

import errno
import socket
from pathlib import Path

import pytest

from tests.e2e.harness import MARKER, Host, Network, dialogue, echo_server, exchange, serve, wait_until
from tests.e2e.test_gateway import INSIDE, OUTSIDE, both_wires, masquerade, router_of, the_session
from tests.e2e.test_identity import ALL, DATA, Fleet, fails

FORWARD = ("--forward", INSIDE)


@pytest.fixture(params=["eno", "crypt"])
def fleet(path: Network, directory: Path, request: pytest.FixtureRequest) -> Fleet:
    return Fleet(path, directory, request.param, gateway=router_of(path))


def row_of(fleet: Fleet, name: str, session_id: str) -> dict[str, object]:
    (row,) = [row for row in fleet.hosts[name].report() if row["session_id"] == session_id]
    assert isinstance(row, dict)
    return row


@pytest.mark.parametrize("translated", [True, False], ids=["translated", "not translated"])
def test_an_inside_host_opens(fleet: Fleet, translated: bool) -> None:
    if translated:
        masquerade(fleet.network)
        fleet.addresses["client"] = "10.69.2.254,fd69:2::fe"
    else:
        # Outside, the router's key is that of all who are behind it.
        fleet.addresses["client"] = "10.69.1.0/24,fd69:1::/64"
    fleet.believe(client="client", server="server")
    fleet.start("client", *ALL, *FORWARD)
    fleet.start("server", *ALL)
    for resumed in (False, True):
        with both_wires(fleet.network) as (inside, outside), dialogue(fleet.network, echo_server) as client:
            assert exchange(client, DATA) == DATA
            session = the_session(fleet.network)
            for name, other in (("client", "server"), ("server", "client")):
                row = row_of(fleet, name, session.session_id)
                assert row["resumed"] is resumed
                assert isinstance(row["peer"], dict)
                assert (row["peer"]["outcome"], row["peer"]["name"]) == ("authenticated", other)
        assert inside.contains(MARKER)
        assert not outside.contains(MARKER)
        wait_until(lambda: not fleet.hosts["client"].sessions(), "it is over")


def test_an_outside_host_opens(fleet: Fleet) -> None:
    network, router = fleet.network, router_of(fleet.network)
    masquerade(network)
    fleet.addresses["client"] = "10.69.2.254"
    fleet.believe(client="client", server="server")
    for name in fleet.hosts:
        fleet.start(name, *ALL, *(FORWARD if name == "client" else ()))
    rule = f"-t nat -A PREROUTING -i {OUTSIDE} -p tcp --dport 7000 -j DNAT --to {network.client.ipv4}:7001"
    router.run(["iptables", *rule.split()])
    with (
        both_wires(network) as (inside, outside),
        serve(network.client.listen(7001), echo_server),
        network.server.connect("10.69.2.254", 7000) as outsider,
    ):
        assert exchange(outsider, DATA) == DATA
        session = the_session(network)
        for name, other in (("client", "server"), ("server", "client")):
            peer = row_of(fleet, name, session.session_id)["peer"]
            assert isinstance(peer, dict)
            assert peer["name"] == other
    assert inside.contains(MARKER)
    assert not outside.contains(MARKER)


@pytest.mark.parametrize("server", ["another key", "no daemon", "no identity"])
@pytest.mark.parametrize("requires", [True, False])
def test_who_is_refused(fleet: Fleet, server: str, requires: bool) -> None:
    """The inside host's application gets an error, and none of its bytes comes to the outside."""
    masquerade(fleet.network)
    fleet.start("client", *FORWARD, *(ALL if requires else ()))
    if server == "another key":
        fleet.start("server", key="mallory")
    elif server == "no identity":
        fleet.network.server.start_daemon("--protocol", fleet.protocol)
    refused = requires or server == "another key"
    with both_wires(fleet.network) as (_, outside):
        if refused:
            assert fails(fleet.network) in (errno.ECONNREFUSED, errno.ECONNRESET)
        else:
            with dialogue(fleet.network, echo_server) as client:
                assert exchange(client, MARKER) == MARKER
    assert outside.contains(MARKER) is (server == "no daemon" and not refused)
    if refused:
        wait_until(lambda: "refused: " in fleet.log("client"), "the log says so")


def test_an_outside_host_without_identity_is_refused(fleet: Fleet) -> None:
    network, router = fleet.network, router_of(fleet.network)
    fleet.start("client", *ALL, *FORWARD)
    network.server.start_daemon("--protocol", fleet.protocol)
    received = bytearray()

    def keep(connection: socket.socket) -> None:
        received.extend(connection.recv(100))

    with serve(network.client.listen(7001), keep), pytest.raises(OSError):  # noqa: PT011
        ask(network.server, network.client.ipv4, 7001)
    assert not received
    wait_until(lambda: "refused: " in fleet.log("client"), "the log says so")
    assert all(row["state"] != "encrypted" for row in router.report("--all"))


def ask(host: Host, address: str, port: int) -> None:
    """Sends something and waits for an answer."""
    with host.connect(address, port) as client:
        client.settimeout(30)
        client.sendall(MARKER)
        if not client.recv(1):
            raise ConnectionResetError
