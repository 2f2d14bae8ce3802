"""Keeps connections of hosts behind this one out of flowtables (nft `flow add`, tc `ct`), in software and in hardware.

What is in one is forwarded from one interface to the other past FORWARD, the plaintext as well. The kernel takes TCP
connections that tracking has as ESTABLISHED, and no others. So before it lets the answer to a SYN go on to the rules
of others, the guard shows the connection to tracking as CLOSE_WAIT, which data and acknowledgments leave as it is. The
first FIN makes LAST_ACK of it, and the guard FIN_WAIT, as it would have been. A connection that turns out to be plain
becomes ESTABLISHED again, and can be taken.

Each packet comes with what tracking knows (NFQA_CT), as it was once it had seen the packet. See
linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_common.h.
"""

import errno
import logging
import socket
from typing import Final

from tcpcryptd.netio.kernel import netlink
from tcpcryptd.netio.kernel.nfqueue import find_attribute
from tcpcryptd.wire.segment import SYN, Segment, locate
from tcpcryptd.wire.words import uint32

_NETLINK_NETFILTER: Final = 12
_CHANGE_CONNECTION: Final = 1 << 8 | 0
_NESTED: Final = 0x8000
_TUPLE_ORIGINAL: Final = 1
_STATUS: Final = 3
_PROTOCOL_INFO: Final = 4
_ZONE: Final = 18
_TCP_INFO: Final = 1
_TCP_STATE: Final = 1
_TCP_FLAGS: Final = (4, 5)
"""Of the original direction and of the reply."""
_CLOSED_FIRST: Final = 0x04
"""IP_CT_TCP_FLAG_CLOSE_INIT, which FIN_WAIT comes with."""

_SYN_RECEIVED: Final = 2
_ESTABLISHED: Final = 3
_FIN_WAIT: Final = 4
_CLOSE_WAIT: Final = 5
_LAST_ACK: Final = 6
_ASSURED: Final = 0x04
_CONFIRMED: Final = 0x08
"""Status bits."""

_log = logging.getLogger(__name__)


class OffloadGuard:
    """For one process. `held` counts the connections that were kept out, `errors` what tracking refused."""

    def __init__(self) -> None:
        self.held = 0
        self.errors = 0

    def admit(self, tracked: bytes, packet: bytes, is_plain: bool) -> bool:
        """Whether a packet of FORWARD may go on: False where tracking could not be told.

        `tracked`: the attributes of NFQA_CT, empty where there is no connection; `is_plain`: what it is from now on.
        """
        info, info_end = find_attribute(tracked, 0, len(tracked), _PROTOCOL_INFO)
        tcp, tcp_end = find_attribute(tracked, info, info_end, _TCP_INFO)
        at, _ = find_attribute(tracked, tcp, tcp_end, _TCP_STATE)
        status_at, status_end = find_attribute(tracked, 0, len(tracked), _STATUS)
        if at == tcp_end or status_end - status_at < 4:
            return True
        state, status = tracked[at], uint32(tracked, status_at)
        if not status & _CONFIRMED:
            # Its first packet: the kernel does not take it with this one.
            return True
        try:
            self._hold(tracked, packet, is_plain, state, status)
        except OSError as error:
            return self._refused(error)
        return True

    def _hold(self, tracked: bytes, packet: bytes, is_plain: bool, state: int, status: int) -> None:
        if state == _CLOSE_WAIT:
            if is_plain:
                if not _has_closed(tracked):
                    _change(tracked, packet, _ESTABLISHED)
            elif not status & _ASSURED and not Segment(packet, locate(packet)[0]).flags & SYN:
                # It would have become so with its third packet; others are forgotten when the table is full.
                _change(tracked, packet, _CLOSE_WAIT, status=status | _ASSURED)
        elif state == _LAST_ACK:
            if not _has_closed(tracked):
                _change(tracked, packet, _FIN_WAIT, closed=True)
        elif not is_plain and (state in (_SYN_RECEIVED, _ESTABLISHED)):
            _change(tracked, packet, _CLOSE_WAIT)
            self.held += 1

    def _refused(self, error: OSError) -> bool:
        if error.errno == errno.ENOENT:
            # Deleted in between, which keeps it out as well.
            return True
        self.errors += 1
        if self.errors == 1:
            _log.error(
                "connection tracking refuses changes (%s): packets that a flowtable could offload are dropped",
                error.strerror,
            )
        return False

    def counters(self) -> dict[str, int]:
        """Connections that were kept out of flowtables, and what tracking refused."""
        return {"offload_held": self.held, "offload_errors": self.errors}


def _has_closed(tracked: bytes) -> bool:
    """Whether a FIN was seen, by us or while tracking had it as ESTABLISHED."""
    info = netlink.attributes(netlink.attributes(tracked).get(_PROTOCOL_INFO, b""))
    tcp = netlink.attributes(info.get(_TCP_INFO, b""))
    return any(int.from_bytes(tcp.get(kind, b"")[:1], "big") & _CLOSED_FIRST for kind in _TCP_FLAGS)


def _change(tracked: bytes, packet: bytes, state: int, status: int | None = None, closed: bool = False) -> None:
    known = netlink.attributes(tracked)
    tcp = netlink.attribute(_TCP_STATE, bytes((state,)))
    if closed:
        # Flags and their mask. Tracking does not ask which direction has it.
        tcp += netlink.attribute(_TCP_FLAGS[0], bytes((_CLOSED_FIRST, _CLOSED_FIRST)))
    family = socket.AF_INET if packet[0] >> 4 == 4 else socket.AF_INET6
    body = bytes((family, 0, 0, 0)) + netlink.attribute(_NESTED | _TUPLE_ORIGINAL, known.get(_TUPLE_ORIGINAL, b""))
    if _ZONE in known:
        body += netlink.attribute(_ZONE, known[_ZONE])
    if status is not None:
        body += netlink.attribute(_STATUS, status.to_bytes(4, "big"))
    body += netlink.attribute(_NESTED | _PROTOCOL_INFO, netlink.attribute(_NESTED | _TCP_INFO, tcp))
    netlink.transact(
        _NETLINK_NETFILTER, netlink.message(_CHANGE_CONNECTION, netlink.REQUEST | netlink.ACKNOWLEDGE, 0, body)
    )
