"""The flowtables of nf_tables (linux/netfilter/nf_tables.h)."""

from tcpcryptd.netio.errors import ExitCode, QueueError
from tcpcryptd.netio.kernel import netlink

_NETLINK_NETFILTER = 12
_GET_FLOWTABLE = 10 << 8 | 23
_TABLE, _NAME = 1, 2
_FAMILY_HEADER_SIZE = 4


def refuse_flowtables(reason: Exception) -> None:
    """Raises QueueError when there is any: for kernels that cannot keep connections out (see `offload_guard`)."""
    if found := flowtables():
        raise QueueError(
            f"a flowtable ({', '.join(found)}) would forward plaintext past tcpcryptd, and this kernel cannot keep "
            "connections out (CONFIG_NETFILTER_NETLINK_GLUE_CT): remove it, or leave out --forward",
            ExitCode.UNSUPPORTED,
        ) from reason


def flowtables() -> list[str]:
    """The names of all, with their tables'. None where the kernel knows none, or cannot be asked."""
    request = netlink.message(_GET_FLOWTABLE, netlink.REQUEST | netlink.DUMP, 0, bytes(_FAMILY_HEADER_SIZE))
    try:
        answers = netlink.transact(_NETLINK_NETFILTER, request)
    except OSError:
        return []
    return [_name(netlink.attributes(answer[_FAMILY_HEADER_SIZE:])) for answer in answers]


def _name(attributes: dict[int, bytes]) -> str:
    table, name = (attributes.get(kind, b"").rstrip(b"\0").decode(errors="replace") for kind in (_TABLE, _NAME))
    return f"{table} {name}"
