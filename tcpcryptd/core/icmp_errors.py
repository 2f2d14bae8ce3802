"""ICMP errors about encrypted connections, in numbers that their receiver knows.

A kernel believes an error when the quoted sequence number is one that it has sent and that is not acknowledged
(RFC 5927, section 4). On the wire there are other numbers than in the kernels, so the error is translated, and refused
here when the number it quotes is not outstanding. What leaves quotes a segment as the local kernel was given it: in
clear, so that nothing of it may stay but its header.
"""

from tcpcryptd.core.flow_table import FlowTable
from tcpcryptd.core.protocol import Quoted
from tcpcryptd.core.services import Services
from tcpcryptd.core.verdict import DROP, Action, ConnectionClass, Direction, Verdict
from tcpcryptd.wire.icmp import IcmpError


def translated(
    packet: bytes, direction: Direction, services: Services, table: FlowTable, diverted_as: ConnectionClass
) -> Verdict:
    """The verdict on a diverted ICMP error; ELSEWHERE when it quotes no connection of this engine's.

    Raises MalformedPacket for what is no ICMP error about TCP.
    """
    error = IcmpError(packet)
    is_unsealed = False
    connection = (table.outbound if direction is Direction.IN else table.inbound).get(error.key)
    if connection is None and direction is Direction.OUT:
        # A router's, about what a host behind it has sent: it is refused before it is diverted.
        connection, direction, is_unsealed = table.outbound.get(error.key), Direction.IN, True
    if connection is None:
        return Action.ELSEWHERE, None, diverted_as
    if not error.checksum_is_right:
        services.counters["bad_checksum"] += 1
        return DROP
    quoted = Quoted(error.sequence, error.mtu, error.is_own, is_unsealed)
    translation = connection.translated(direction, quoted)
    if translation is None:
        services.counters["icmp_errors_refused"] += 1
        return DROP
    services.counters["icmp_errors_translated"] += 1
    return Action.MODIFY, error.edited(*translation), diverted_as
