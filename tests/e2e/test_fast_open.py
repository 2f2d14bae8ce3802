"""TCP Fast Open by the kernels' own means: a client with a cookie sends data with its SYN, and again with its ACK."""

import contextlib
import errno
import select
import socket

from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    MARKER,
    Host,
    Network,
    assert_encrypted,
    assert_plain,
    echo_server,
    read_exactly,
    same_session,
    serve,
)

TCP_FASTOPEN, TCP_FASTOPEN_CONNECT = 23, 30
MSG_FASTOPEN = 0x20000000
DATA = MARKER * 20
FAMILIES = (socket.AF_INET, socket.AF_INET6)


def counters(host: Host) -> dict[str, int]:
    """The kernel's counters of Fast Open."""
    rows = [line.split() for line in host.run(["nstat", "-asz"]).stdout.splitlines()]
    return {row[0].removeprefix("TcpExtTCPFastOpen"): int(row[1]) for row in rows if "FastOpen" in row[0]}


def open_fast(host: Host, address: str, port: int, *, by_connect: bool) -> socket.socket:
    """A connection whose SYN has DATA, if the host has a cookie; it is established."""
    client = host.namespace.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    client.settimeout(20)
    if by_connect:
        client.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        client.connect((address, port))
        client.sendall(DATA)
        return client
    with contextlib.suppress(BlockingIOError):
        client.sendto(DATA, MSG_FASTOPEN, (address, port))
        return client
    # It had no cookie, and nothing was taken.
    assert select.select([], [client], [], 20)[1]
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.EINPROGRESS)
    client.sendall(DATA)
    return client


@BOTH_PROTOCOLS
def test_fast_open(network: Network, protocol: str) -> None:
    """A client with cookies, a peer without a daemon and then with one; the server's application takes part, too."""
    for host in network.hosts():
        host.namespace.sysctl("net.ipv4.tcp_fastopen", 3)
        host.namespace.sysctl("net.ipv4.tcp_fastopen_blackhole_timeout_sec", 3600)
    with contextlib.ExitStack() as stack:
        ports = []
        for family in FAMILIES:
            listener = network.server.listen(0, family)
            listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
            ports.append(stack.enter_context(serve(listener, echo_server)))

        def try_all(*, encrypted: bool) -> None:
            for family, port in zip(FAMILIES, ports, strict=True):
                # The first one of each makes a session, which the second one resumes.
                for by_connect in (True, False) if family == socket.AF_INET else (False, True):
                    address = network.server.address(family)
                    with open_fast(network.client, address, port, by_connect=by_connect) as client:
                        assert read_exactly(client, len(DATA)) == DATA
                        if encrypted:
                            same_session(network, client)

        try_all(encrypted=False)
        before = counters(network.client)
        assert before["Active"] >= len(FAMILIES), "the kernels do not use Fast Open"

        network.client.start_daemon("--protocol", protocol)
        capture = network.client.capture()
        try_all(encrypted=False)
        assert_plain(capture.stop())

        network.server.start_daemon("--protocol", protocol)
        capture = network.client.capture()
        try_all(encrypted=True)
        assert_encrypted(capture.stop(), protocol)

        after = counters(network.client)
        # The data was in the SYN each time, and the peer's kernel did not see it there.
        assert after["Active"] == before["Active"]
        assert after["ActiveFail"] == before["ActiveFail"] + 2 * 2 * len(FAMILIES)
        assert after["Blackhole"] == 0
