"""Connections whose peers are not trusted any more."""

from collections.abc import Iterable

from tcpcryptd.core.connection import Connection
from tcpcryptd.core.flow_key import endpoints
from tcpcryptd.core.protocol import Judge, Outcome


def review(connections: Iterable[Connection], judge: Judge) -> None:
    """Ends connections whose peer would be refused now, or was authenticated and no longer is."""
    for connection in connections:
        before = connection.identity
        if before is None or not before.token:
            continue
        found = judge(endpoints(connection.key)[1].address, connection.peer_port, before.token)
        if found is None:
            connection.refuse("the peer's proof is no longer remembered")
        elif not found.suits(must_authenticate=before.outcome is Outcome.AUTHENTICATED):
            connection.identity = found
            connection.refuse(found.reason)
        else:
            connection.identity = found
