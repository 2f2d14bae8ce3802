"""Rules of others that use the daemon's bits of the connection mark (docs/firewalls.md)."""

import itertools

from tcpcryptd.netio.firewall.iptables.rules import CHAIN_PREFIX
from tcpcryptd.netio.marks import MarkScheme

_ALL_BITS = "0xffffffff"


def overwriting(saved: list[str], marks: MarkScheme) -> list[str]:
    """Those that change our bits of the connection mark, of the lines of iptables-save."""
    return [line for line in _others(saved) if "CONNMARK" in line.split() and _written(line) & marks.mask]


def comparing(saved: list[str], marks: MarkScheme) -> list[str]:
    """Those that compare our bits of the connection mark as well, so that they match no encrypted connection."""
    return [line for line in _others(saved) if _compared(line) & marks.mask]


def _others(saved: list[str]) -> list[str]:
    return [line for line in saved if line.startswith("-A ") and not line.startswith(f"-A {CHAIN_PREFIX}")]


def _written(line: str) -> int:
    words = line.split()
    options = dict(itertools.pairwise(words))
    if "--set-xmark" in options:
        return _mask(options["--set-xmark"])
    return int(options.get("--ctmask", _ALL_BITS), 16) if "--save-mark" in words else 0


def _compared(line: str) -> int:
    words = line.split()
    for start in (at for at, word in enumerate(words) if words[at - 1] == "-m" and word == "connmark"):
        end = next((at for at in range(start, len(words)) if words[at] in ("-m", "-j", "-g")), len(words))
        for option, value in itertools.pairwise(words[start:end]):
            if option == "--mark":
                return _mask(value)
    return 0


def _mask(value: str) -> int:
    return int(value.partition("/")[2] or _ALL_BITS, 16)
