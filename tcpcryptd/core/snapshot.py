"""What is told of a connection: its part that the core knows and its part that the protocol describes."""

from tcpcryptd.core.event import ConnectionInfo, ConnectionState, Negotiated
from tcpcryptd.core.flow_key import endpoints
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.core.protocol import Classical, Description, Opening


def agreement(about: Description) -> str:
    """The counter of a connection that is encrypted now: whether its key agreement is post-quantum, and why not."""
    if about.post_quantum:
        return "post_quantum"
    return (Classical.RESUMED if about.resumed else about.classical).value


def negotiated(key: bytes, protocol: str, about: Description) -> Negotiated:
    """The event; `key`: the flow key of what the local host sends."""
    suite, role = about.suite, about.role
    return Negotiated(*endpoints(key), protocol, about.session_id, suite, role, about.resumed, about.post_quantum)


def plain(key: bytes, opening: Opening, options: ConnectionOptions, reason: str) -> ConnectionInfo:
    """What stays of a connection that goes on in clear."""
    started = opening.started
    return ConnectionInfo(*endpoints(key), ConnectionState.PLAIN, reason=reason, started=started, options=options)


def snapshot(
    key: bytes,
    opening: Opening,
    options: ConnectionOptions,
    state: ConnectionState,
    protocol: str,
    about: Description,
    reason: str | None,
) -> ConnectionInfo:
    """For the control socket."""
    return ConnectionInfo(
        *endpoints(key),
        state,
        protocol,
        about.session_id,
        about.role,
        about.suite,
        about.resumed,
        about.post_quantum,
        about.peer_aware,
        reason,
        opening.started,
        about.bytes_sent,
        about.bytes_received,
        about.public_key,
        about.public_key_spec,
        about.symmetric_spec,
        about.generation,
        options,
    )
