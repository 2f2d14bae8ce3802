"""Runs nft on our table. Changes are transactions: all of one is done, or nothing."""

import json
import shutil
from typing import Any

from tcpcryptd.netio.errors import FirewallError
from tcpcryptd.netio.firewall.nft.rules import FAMILY, TABLE
from tcpcryptd.netio.firewall.program import run
from tcpcryptd.netio.process.program import SEARCH_PATH

_ENVIRONMENT = {"PATH": SEARCH_PATH, "LC_ALL": "C"}

Json = Any


def is_installed() -> bool:
    """Whether there is the program."""
    return shutil.which("nft", path=SEARCH_PATH) is not None


def apply(transaction: str) -> None:
    """Raises FirewallError, and nothing has changed then."""
    _run("-f", "-", given=transaction)


def check(transaction: str) -> None:
    """Has the kernel check a transaction that is not made, and tries whether nft has JSON; raises FirewallError."""
    _run("-c", "-f", "-", given=transaction)
    _listed("tables", FAMILY)


def has_table() -> bool:
    """Whether our table is there; raises FirewallError."""
    # Not in JSON: who has chosen iptables need not have an nft that was built with it.
    return f"table {FAMILY} {TABLE}" in _run("list", "tables", FAMILY).splitlines()


def listed_table() -> list[dict[str, Json]]:
    """What there is in our table, one dictionary for each object by its kind; raises FirewallError."""
    try:
        return _listed("table", FAMILY, TABLE)
    except FirewallError:
        if has_table():
            raise
        return []


def _listed(*what: str) -> list[dict[str, Json]]:
    text = _run("-j", "list", *what)
    try:
        return [each for each in json.loads(text)["nftables"] if "metainfo" not in each]
    except (ValueError, KeyError, TypeError) as error:
        raise FirewallError("nft lists its tables in another format than JSON") from error


def _run(*arguments: str, given: str = "") -> str:
    return run(["nft", *arguments], given, _ENVIRONMENT, "nftables")
