"""Verdicts after a new connection with the same addresses and ports has replaced another one."""

from tcpcryptd.core.services import Services
from tcpcryptd.core.verdict import ACCEPT_PLAIN, DROP, Action, ConnectionClass, Direction, Verdict
from tcpcryptd.wire.segment import Segment


def after_crossing(services: Services, key: bytes, peers: Segment, verdict: Verdict, now: float) -> Verdict:
    """The verdict on the local kernel's SYN, when the new connection has had the peer's as well.

    `verdict`: what it was before that. See core.protocol.ConnectionHandle.cross.
    """
    entry = services.table.entry(key)
    if entry is None:
        return verdict
    action, _, connection_class = entry.inbound(peers.packet, peers.offset, now)
    if action is Action.DROP:
        return DROP
    return ACCEPT_PLAIN if connection_class is ConnectionClass.PLAIN else verdict


def answered(services: Services, key: bytes, syn: Segment, answer: Segment, now: float) -> Verdict:
    """The verdict on the local kernel's SYN ACK, whose SYN the new connection has not had yet."""
    opened = services.first_packet(syn, Direction.IN, now, ConnectionClass.UNDECIDED)
    entry = services.table.entry(key)
    if entry is not None:
        return entry.outbound(answer.packet, answer.offset, now)
    # It goes on in clear when that was decided, and not when it was refused or put off.
    return ACCEPT_PLAIN if opened[2] is ConnectionClass.PLAIN else DROP
