"""Who may use the application interface, its errors, and what applications build on it."""

import asyncio
import errno
import socket
import sys
from pathlib import Path

import pytest

from tcpcryptd import sockopt
from tests.e2e.harness import Network, echo_server, serve, wait_until
from tests.e2e.harness.api import Api, At, error_of
from tests.e2e.harness.users import as_user

USERS = (41001, 41002)


def test_errors(api: Api, at: At) -> None:
    client = api.network.client
    with api.connection() as (ours, _), client.namespace.socket(socket.AF_INET) as free:
        assert api.info(client, ours).encrypted
        for option in (sockopt.TCP_CRYPT_ENABLE, sockopt.TCP_CRYPT_SUPPORT, sockopt.TCP_CRYPT_CMODE_ALWAYS):
            assert error_of(lambda option=option: api.set(client, ours, option)) == errno.EISCONN  # type: ignore[misc]
        for option in (sockopt.TCP_CRYPT_SESSID, sockopt.TCP_CRYPT_PUBKEY, sockopt.TCP_CRYPT_CONF):
            assert error_of(lambda option=option: api.get(client, free, option)) == errno.ENOTCONN  # type: ignore[misc]
            assert error_of(lambda option=option: api.set(client, free, option)) == errno.ENOPROTOOPT  # type: ignore[misc]
        assert error_of(lambda: api.set(client, free, sockopt.TCP_CRYPT_RESET)) == errno.ENOTCONN
        assert error_of(lambda: api.set(client, free, sockopt.TCP_CRYPT_ENABLE, 2)) == errno.EINVAL
        assert error_of(lambda: api.set(client, free, sockopt.TCP_CRYPT_PKCONF, [b"1234"])) == errno.EINVAL
        with client.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            assert error_of(lambda: api.get(client, datagrams, sockopt.TCP_CRYPT_ENABLE)) == errno.EOPNOTSUPP
        with socket.socket() as elsewhere:
            assert error_of(lambda: api.get(client, elsewhere, sockopt.TCP_CRYPT_ENABLE)) == errno.EACCES
        with client.namespace.socket(socket.AF_INET) as closed:
            pass
        assert error_of(lambda: api.get(client, closed, sockopt.TCP_CRYPT_ENABLE)) == errno.EBADF
        with pytest.raises(OSError, match="not connected"):
            sockopt.info(free)
    assert client.daemons[0].stop() == 0
    at(client)
    with client.namespace.socket(socket.AF_INET) as free:
        assert error_of(lambda: sockopt.getsockopt(free, sockopt.TCP_CRYPT_ENABLE)) == errno.ENOPROTOOPT
        with pytest.raises(sockopt.DaemonNotRunning):
            sockopt.info(free)
        with pytest.raises(sockopt.NotEncrypted, match="not running"):
            sockopt.require(free)


def test_without_a_daemon_at_the_peer(network: Network, at: At) -> None:
    network.client.start_daemon()
    with Api(network, at).connection() as (ours, _):
        at(network.client)
        known = sockopt.info(ours)
        assert not known.encrypted
        assert known.reason == "the peer does not speak tcpcrypt"


def test_asyncio(api: Api, at: At) -> None:
    async def ask(sock: socket.socket) -> sockopt.Info:
        _, writer = await asyncio.open_connection(sock=sock)
        known = await sockopt.async_require(writer)
        assert await sockopt.async_info(writer.transport) == known
        assert await sockopt.async_getsockopt(writer, sockopt.TCP_CRYPT_SESSID) == known.session_id
        writer.close()
        await writer.wait_closed()
        return known

    with api.connection() as (ours, theirs):
        there = api.info(api.network.server, theirs)
        at(api.network.client)
        copy = ours.dup()
        copy.setblocking(False)
        assert asyncio.run(ask(copy)).session_id == there.session_id


STRANGER = """
import sys
from tcpcryptd.records.address import Address
from tcpcryptd.control.client import ControlClient
from tcpcryptd.control.errors import RequestRefused
from tcpcryptd.control.socket_option import SocketOption
ends = {"local": Address(sys.argv[1], int(sys.argv[2])), "remote": Address(sys.argv[3], int(sys.argv[4]))}
option = SocketOption[sys.argv[5]]
with ControlClient() as client:
    for command, value in (("get_option", {}), ("set_option", {"value": 1})):
        try:
            client.request(command, {"option": option, **value, **ends})
            print("done")
        except RequestRefused as refused:
            print(refused.name)
"""
OWNER = """
import socket, sys
from tcpcryptd import sockopt
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sockopt.setsockopt(sock, sockopt.TCP_CRYPT_SECURST, 1)
print(sockopt.require(sock).session_id.hex(), len(sockopt.getsockopt(sock, sockopt.TCP_CRYPT_NETSTAT)))
print(*sock.getsockname(), flush=True)
sockopt.setsockopt(sock, sockopt.TCP_CRYPT_CACHE_FLUSH, 1)
try:
    sockopt.setsockopt(socket.socket(), sockopt.TCP_CRYPT_CACHE_FLUSH, 1)
except OSError as error:
    print(error.errno, flush=True)
sock.recv(1)
"""


def run_as(user: int, program: str, *arguments: object) -> list[str]:
    return [*as_user(user), sys.executable, "-c", program, *map(str, arguments)]


def test_users_have_their_own_sockets(encrypted: Network, directory: Path) -> None:
    """The owner uses its socket; another user, who knows the connection's ends, is refused; root is not."""
    client, server = encrypted.client, encrypted.server
    output = directory / "owner"
    with serve(server.listen(0), echo_server) as port, output.open("wb") as file:
        client.namespace.spawn(run_as(USERS[0], OWNER, server.ipv4, port), stdout=file.fileno(), log=directory / "log")
        wait_until(lambda: output.read_text().count("\n") == 3, "the owner has asked")
        identity, ends, flush = output.read_text().splitlines()
        session, count = identity.split()
        assert [each.session_id for each in client.sessions()] == [session]
        assert count == "1"
        assert int(flush) == errno.EPERM
        for user, outcome in ((USERS[0], "done done"), (USERS[1], "EACCES EACCES"), (0, "done done")):
            stranger = run_as(user, STRANGER, *ends.split(), server.ipv4, port, "TCP_CRYPT_SECURST")
            assert client.run(stranger).stdout.split() == outcome.split()
        seen = run_as(USERS[1], STRANGER, *ends.split(), server.ipv4, port, "TCP_CRYPT_SESSID")
        assert client.run(seen).stdout.split()[0] == "EACCES"


def example(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"examples.{name}", *map(str, arguments)]


@pytest.mark.parametrize("method", ["secret", "key"])
def test_examples(encrypted: Network, directory: Path, method: str) -> None:
    client, server = encrypted.client, encrypted.server
    if method == "secret":
        (directory / "secret").write_bytes(bytes(range(32)))
        (directory / "other").write_bytes(bytes(32))
        ours = theirs = ["--secret", directory / "secret"]
        wrong = ["--secret", directory / "other"]
    else:
        keys = [
            client.run(example("make_key", directory / name)).stdout.strip() for name in ("ours", "theirs", "other")
        ]
        ours = ["--key", directory / "ours", "--peer", keys[1]]
        theirs = ["--key", directory / "theirs", "--peer", keys[0]]
        wrong = ["--key", directory / "other", "--peer", keys[1]]
    output = directory / "output"
    with output.open("wb") as file:
        server.namespace.spawn(example("echo_server", *theirs, 7000), stdout=file.fileno(), log=directory / "log")
    server.wait_listening(7000)
    answer = client.run(example("echo_client", *ours, server.ipv4, 7000, "hello there")).stdout.splitlines()
    assert answer[0].startswith("authenticated, session ")
    assert answer[1:] == ["hello there"]
    refused = client.run(example("echo_client", *wrong, server.ipv4, 7000, "hello there"), check=False)
    assert refused.returncode == 1
    assert "refused our proof" in refused.stderr
    wait_until(lambda: output.read_text().count("\n") == 3, "the server has seen both")
    assert "has not proved" in output.read_text()
