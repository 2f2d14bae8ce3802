"""Connections of hosts behind this one that an earlier daemon encrypted.

There is no SOCK_DESTROY for another host's socket: only the rules hold it back, until its segments are seen and the
connection is reset.
"""

from collections.abc import Callable, Iterator

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.netio.errors import DaemonError
from tcpcryptd.netio.kernel.conntrack import TrackedConnection, tracked_connections
from tcpcryptd.netio.marks import MarkScheme


class ForwardedConnections:
    """Those that are there when this is made. Needs CAP_NET_ADMIN; raises OSError."""

    def __init__(self, marks: MarkScheme) -> None:
        self._marks = marks
        self._earlier = {each for each in self._encrypted() if not each.is_over}

    def check(self, was_reset: Callable[[Endpoint, Endpoint], bool] = lambda _local, _remote: False) -> None:
        """Raises DaemonError while any of them would go on in clear without the rules; OSError: it is not known."""
        left = 0
        if self._earlier:
            flows = {each.flows for each in self._encrypted()} & {each.flows for each in self._earlier}
            left = sum(not any(was_reset(*flow.ends) for flow in both) for both in flows)
        if left:
            raise DaemonError(
                f"{left} connections of hosts behind this one were encrypted and would go on in clear: the rules stay; "
                "start tcpcryptd again with --forward, so that it resets them, or run launch_iptables.sh --remove",
            )

    def _encrypted(self) -> Iterator[TrackedConnection]:
        for each in ConnectionClass:
            if each.is_encrypted:
                yield from tracked_connections(self._marks.of_forwarded(each), self._marks.mask)
