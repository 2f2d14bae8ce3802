"""Descriptions of a connection: the core's part, and the protocol's part."""

from dataclasses import asdict

from tcpcryptd.core.event import ConnectionInfo, ConnectionState, Negotiated
from tcpcryptd.core.flow_key import endpoints
from tcpcryptd.core.hosts import peer_info
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.core.protocol import Classical, ConnectionHandle, Description, Origin, PeerIdentity, Phase

_NO_KEYS = {
    # The firewall's class can be there before the keys.
    ConnectionState.HANDSHAKE: "the handshake is not over",
    ConnectionState.CLOSED: "it ended before there were keys, or an earlier daemon had them",
}


def agreement(about: Description) -> str:
    """The counter of a connection that is encrypted now: whether its key agreement is post-quantum, and why not."""
    if about.post_quantum:
        return "post_quantum"
    return (Classical.RESUMED if about.resumed else about.classical).value


def negotiated(key: bytes, protocol: str, about: Description) -> Negotiated:
    """The event; `key`: the flow key of what the local host sends."""
    suite, role = about.suite, about.role
    return Negotiated(*endpoints(key), protocol, about.session_id, suite, role, about.resumed, about.post_quantum)


def plain(key: bytes, origin: Origin, options: ConnectionOptions, reason: str) -> ConnectionInfo:
    """The record of a connection that goes on in clear."""
    started = origin.started
    return ConnectionInfo(*endpoints(key), ConnectionState.PLAIN, reason=reason, started=started, options=options)


def refused(
    key: bytes,
    protocol: str,
    origin: Origin,
    options: ConnectionOptions,
    reason: str,
    identity: PeerIdentity | None,
) -> ConnectionInfo:
    """The record of a connection that was refused."""
    return ConnectionInfo(
        *endpoints(key),
        ConnectionState.CLOSED,
        protocol,
        reason=f"refused: {reason}",
        started=origin.started,
        options=options,
        peer=peer_info(identity) if identity is not None else None,
    )


def snapshot(
    connection: ConnectionHandle, protocol: str, about: Description, identity: PeerIdentity | None, *, negotiated: bool
) -> ConnectionInfo:
    """For the control socket; `negotiated`: both sides have, or had, keys."""
    state = ConnectionState.ENCRYPTED if negotiated else ConnectionState.HANDSHAKE
    if connection.phase is Phase.CLOSED:
        state = ConnectionState.CLOSED
    told = asdict(about)
    del told["classical"]
    if not negotiated:
        told |= {"session_id": None, "reason": _NO_KEYS[state]}
    return ConnectionInfo(
        *endpoints(connection.key),
        state,
        protocol,
        peer=peer_info(identity) if identity is not None else None,
        started=connection.origin.started,
        last_seen=connection.last_seen,
        options=connection.options,
        **told,
    )
