"""The MTU of the path to a host, and the MTU that the local kernel was told.

The kernel cuts its segments to the path's MTU, and does not reckon with what is added to them afterwards. So it is told
less; and whoever asks it must know which of the two it says.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from tcpcryptd.wire.icmp import LEAST_MTU
from tcpcryptd.wire.syn import MAX_MSS

PathMtu = Callable[[bytes], int | None]
"""Given an address, bytes of IP packet that reach the host; None: not known."""
_HEADERS: Final = {4: 40, 16: 60}
"""Bytes of IP and TCP header, by those of an address."""


class _Told(NamedTuple):
    path: int
    kernel: int


class PathMtus:
    """Asks the kernel, and remembers what it was told; bounded."""

    def __init__(self, lookup: PathMtu, limit: int, recent: PathMtu | None = None) -> None:
        """`lookup`: what the kernel believes now; `recent`: lately, which costs less to ask."""
        self._lookup = lookup
        self._recent = recent or lookup
        self._limit = limit
        self._told: OrderedDict[bytes, _Told] = OrderedDict()

    def of(self, address: bytes) -> int | None:
        """Bytes of IP packet that reach a host; None: not known."""
        return self._carried(address, self._lookup(address))

    def _carried(self, address: bytes, believed: int | None) -> int | None:
        told = self._told.get(address)
        # The kernel forgets in time, and may have learnt another one since.
        return told.path if told is not None and told.kernel == believed else believed

    def max_mss(self, address: bytes) -> int:
        """The MSS for which packets to a host have room, as far as has been known lately."""
        mtu = self._carried(address, self._recent(address))
        return MAX_MSS if mtu is None else max(mtu - _HEADERS[len(address)], 1)

    def narrowed(self, address: bytes, mtu: int, added: int, is_own: bool) -> tuple[int, int]:
        """An error gives an MTU, and `added` bytes are ours in every packet: what the path carries, and is told.

        `is_own`: the kernel's, which holds to what it was told and refuses what has been added to its segments.
        """
        told, least = self._told.get(address), LEAST_MTU[4 if len(address) == 4 else 6]
        path, kernel = mtu, max(mtu - added, least)
        if told is not None and mtu == (told.kernel if is_own else told.path):
            # Never more than before: a kernel only believes less.
            path, kernel = told.path, min(max(told.path - added, least), told.kernel)
        self._told[address] = _Told(path, kernel)
        self._told.move_to_end(address)
        if len(self._told) > self._limit:
            self._told.popitem(last=False)
        return path, kernel

    def is_reckoned_with(self, address: bytes) -> bool:
        """Whether the kernel believes what it was told."""
        told = self._told.get(address)
        return told is not None and told.kernel == self._lookup(address)
