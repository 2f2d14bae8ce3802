"""Links whose packets are larger than a queue carries (linux/if_link.h)."""

import struct
from collections.abc import Iterator

from tcpcryptd.netio.doctor.finding import Finding
from tcpcryptd.netio.firewall.selection import LOOPBACK, Selection
from tcpcryptd.netio.kernel.interfaces import links

_GSO, _GRO, _GSO_IPV4, _GRO_IPV4 = 41, 58, 63, 64
_USUAL = 65_536
"""Bytes: what links have by default. The kernel's TCP takes 321 off it for headers."""
_NUMBER = struct.Struct("=I")


def check_links(selection: Selection) -> Iterator[Finding]:
    """Names those that are up and selected and have packets of more than 64 KiB (BIG TCP)."""
    found = False
    for name, is_up, attributes in links():
        if not is_up or not _is_selected(name, selection):
            continue
        sizes = [_number(attributes.get(kind)) for kind in (_GSO, _GSO_IPV4, _GRO, _GRO_IPV4)]
        if max(sizes) > _USUAL:
            found = True
            yield Finding.warning(
                "links",
                f"{name} has packets of up to {max(sizes)} bytes, more than a queue carries (BIG TCP): those of "
                "encrypted connections are handled segment by segment, which is slower",
                f"ip link set dev {name} gso_max_size {_USUAL} gro_max_size {_USUAL}",
            )
    if not found:
        yield Finding.ok("links", "none has larger packets than a queue carries")


def _is_selected(name: str, selection: Selection) -> bool:
    if name == LOOPBACK:
        return not selection.leaves_loopback
    return not selection.interfaces or name in selection.interfaces or name in selection.forward


def _number(value: bytes | None) -> int:
    return _NUMBER.unpack(value)[0] if value is not None and len(value) == _NUMBER.size else 0
