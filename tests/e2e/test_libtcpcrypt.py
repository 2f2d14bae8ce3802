"""Programs of the original library, run as an unprivileged user."""

import errno
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import MARKER, Host, Network, dialogue, echo_server, exchange, same_session, serve, wait_until
from tests.e2e.harness.users import NOBODY

CLIENT = Path(__file__).with_name("library_client.py")
LIBRARY_PORT = 666
PORT = 7000
ENABLE, CMODE, SESSID, APP_SUPPORT, RESET, NOCACHE, NETSTAT = 0, 1, 2, 15, 100, 101, 102
ROOM = 200


@pytest.fixture
def library(network: Network) -> Network:
    """Two hosts with daemons, of which the client's answers the library."""
    network.client.start_daemon("--libtcpcrypt-port", str(LIBRARY_PORT))
    network.server.start_daemon()
    return network


def program(network: Network, *commands: list[Any], user: list[str] = NOBODY) -> list[Any]:
    """What the client program prints for its commands."""
    command = [*user, sys.executable, str(CLIENT), network.server.ipv4, str(LIBRARY_PORT), *map(json.dumps, commands)]
    results: list[Any] = json.loads(network.client.run(command).stdout)
    return results


def test_a_connection_of_ones_own(library: Network) -> None:
    with serve(library.server.listen(PORT), echo_server):
        (connected, sessid, cut, enabled, support, listed, again) = program(
            library,
            ["connect", PORT, []],
            ["get", SESSID, ROOM],
            ["get", SESSID, 4],
            ["get", ENABLE, 4],
            ["get", APP_SUPPORT, ROOM],
            ["get", NETSTAT, 1200],
            ["set", ENABLE, 0],
        )
    error, session = connected
    assert error == 0
    assert len(bytes.fromhex(session)) >= 16
    assert sessid == [0, session]
    assert cut == [0, session[:8]]
    assert enabled == [0, (1).to_bytes(4, sys.byteorder).hex()]
    assert support == [0, "00" + session]
    assert [row[1:] for row in listed[1]] == [[PORT, session]]
    assert again == [errno.EISCONN, ""]
    wait_until(lambda: session in library.server.daemons[0].log(), "the server's daemon has logged the session")


def test_options_before_the_connection_is_opened(library: Network) -> None:
    seen: list[dict[str, Any]] = []

    def note(connection: socket.socket) -> None:
        connection.recv(1)
        port = connection.getpeername()[1]
        seen.extend(row for row in library.server.report("--all") if row["remote"]["port"] == port)

    with serve(library.server.listen(PORT), note):
        connected, support = program(
            library, ["connect", PORT, [[APP_SUPPORT, 1], [CMODE, 1], [NOCACHE, 1]]], ["get", APP_SUPPORT, ROOM]
        )
        assert connected[:4] == [0, 0, 0, 0]
        assert support == [0, "01" + connected[4]]
        disabled, enabled = program(library, ["connect", PORT, [[ENABLE, 0]]], ["get", ENABLE, 4])
        assert disabled == [0, errno.ENODATA, ""]
        assert enabled == [0, bytes(4).hex()]
        # NOCACHE kept the first one from being resumed.
        (fresh,) = program(library, ["connect", PORT, []])
        assert fresh[0] == 0
        wait_until(lambda: len(seen) == 3, "the server has looked at all three")
    # The program may have closed them meanwhile.
    encrypted = [row for row in seen if row["state"] in ("encrypted", "closed")]
    assert [row["state"] for row in seen if row not in encrypted] == ["plain"]
    assert sorted(row["peer_aware"] for row in encrypted) == [False, True]
    assert not any(row["resumed"] for row in encrypted)


def test_reset(library: Network) -> None:
    resets: list[bool] = []

    def wait_for_the_end(connection: socket.socket) -> None:
        try:
            connection.recv(1)
        except ConnectionResetError:
            resets.append(True)
            raise

    with serve(library.server.listen(PORT), wait_for_the_end):
        connected, reset, gone = program(library, ["connect", PORT, []], ["set", RESET, 1], ["get", NETSTAT, 1200])
        wait_until(lambda: resets, "the server's end is reset")
    assert (connected[0], reset, gone) == (0, [0, ""], [0, []])
    assert library.client.sessions() == []


def test_other_users_see_and_change_nothing(library: Network) -> None:
    with dialogue(library, port=PORT) as client:
        assert exchange(client, MARKER) == MARKER
        session = same_session(library, client)
        peek = ["peek", client.getsockname(), client.getpeername()]
        assert program(library, peek) == [errno.EACCES]
        (mine, listed) = program(library, ["connect", PORT, []], ["get", NETSTAT, 1200])
        assert [row[2] for row in listed[1]] == [mine[1]]
        (_, by_root) = program(library, ["connect", PORT, []], ["get", NETSTAT, 1200], user=[])
        assert session in [row[2] for row in by_root[1]]
        assert program(library, peek, user=[]) == [0]


def test_it_is_off_unless_asked_for(host: Host) -> None:
    host.start_daemon()
    assert host.run(["ss", "-Hlun"]).stdout == ""


def test_a_port_that_is_taken(host: Host) -> None:
    before = host.rules()
    with host.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", LIBRARY_PORT))
        daemon = host.launch_daemon("--libtcpcrypt-port", str(LIBRARY_PORT))
        assert daemon.wait() == 5
    assert "--libtcpcrypt-port" in daemon.log()
    assert host.rules() == before
