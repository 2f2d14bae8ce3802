"""One daemon that has both ends of a connection."""

from tests.e2e.harness import (
    BOTH_PROTOCOLS,
    FAMILIES,
    MARKER,
    SESSION_ID_LENGTHS,
    Host,
    assert_encrypted,
    echo_server,
    exchange,
    serve,
)


@FAMILIES
@BOTH_PROTOCOLS
def test_both_ends_on_one_host(host: Host, protocol: str, family: int) -> None:
    host.start_daemon("--protocol", protocol)
    capture = host.capture("lo")
    # Segments up to the whole 65,536 bytes of loopback's MTU.
    data = MARKER * 100_000
    with (
        serve(host.listen(0, family), echo_server) as port,
        host.connect(host.address(family), port) as client,
    ):
        session = host.session_id(client)
        assert len(bytes.fromhex(session)) == SESSION_ID_LENGTHS[protocol]
        assert exchange(client, data) == data
        ends = {(s.local, s.remote) for s in host.sessions() if s.session_id == session}
        local, remote = client.getsockname()[:2], client.getpeername()[:2]
        assert ends == {(local, remote), (remote, local)}
    capture.stop()
    if protocol == "crypt":
        # What TCP-ENO injects towards the local kernel takes this interface, too, and is plaintext.
        assert_encrypted(capture)
    assert max(len(segment.payload) for segment in capture.segments()) > 9000


@BOTH_PROTOCOLS
def test_short_connections(host: Host, protocol: str) -> None:
    host.start_daemon("--protocol", protocol)
    with serve(host.listen(0), echo_server) as port:
        for number in range(50):
            with host.connect("127.0.0.1", port) as client:
                assert exchange(client, number.to_bytes(100)) == number.to_bytes(100)
