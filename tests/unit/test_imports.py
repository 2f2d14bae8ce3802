"""The import directions of docs/architecture.md, read off the source."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "tcpcryptd"

# Part of the package -> parts that it may import, besides itself and the package's own version.
ALLOWED = {
    "output": set[str](),
    "wire": set[str](),
    "crypto": set[str](),
    "records": set[str](),
    "control": {"records"},
    "core": {"records", "wire"},
    "crypt": {"core.handshake", "core.protocol", "crypto", "identity", "wire"},
    "eno": {"core.handshake", "core.protocol", "crypto", "identity", "wire"},
    "identity": {"core.protocol", "crypto", "wire"},
    "netio": {"core", "control", "output", "records", "wire"},
    "cli": {
        "netio",
        "core",
        "crypt",
        "eno",
        "control",
        "records",
        "crypto.identity",
        "crypto.key_log",
        "crypto.key_pool",
        "crypto.ssh_keys",
        "dissect",
        "identity",
        "output",
        "pcap",
        "wire.build",
    },
    "sockopt": {"control", "records"},
    "authenticate": {"crypto.identity", "sockopt"},
    "dissect": {"output", "wire"},
    "pcap": {"crypto", "dissect", "identity", "wire"},
    "__init__": set[str](),
}

_BASE = {
    "netio.busy_polling",
    "netio.engine_output",
    "netio.errors",
    "netio.loop",
    "netio.marks",
    "netio.queue_numbers",
}
_PROCESS = _BASE | {"netio.kernel", "netio.process"}
_DAEMON = _PROCESS | {"netio.packets", "netio.firewall", "netio.clients", "netio.workers", "netio.daemon"}
_CRYPT = {f"crypt.{name}" for name in ("config", "constants", "limits", "option", "roles", "syn")}
_ENO = {f"eno.{name}" for name in ("config", "constants", "cutting", "limits", "role", "syn")}
# Room of a part -> rooms and modules of that part that it may import, besides itself.
ROOMS = {
    **dict.fromkeys(_CRYPT, _CRYPT),
    "crypt": {"crypt.config", "crypt.factory"},
    "crypt.protection": _CRYPT,
    "crypt.handshake": _CRYPT | {"crypt.protection"},
    "crypt.factory": _CRYPT | {"crypt.handshake"},
    **dict.fromkeys(_ENO, _ENO),
    "eno": {"eno.config", "eno.factory"},
    "eno.stream": _ENO - {"eno.config"},
    "eno.handshake": _ENO | {"eno.stream"},
    "eno.factory": _ENO | {"eno.handshake"},
    **dict.fromkeys(_BASE, _BASE),
    "netio": set[str](),
    "netio.kernel": _BASE,
    "netio.process": _BASE | {"netio.kernel"},
    "netio.packets": _PROCESS,
    "netio.firewall": _PROCESS,
    "netio.clients": _PROCESS,
    "netio.workers": _DAEMON - {"netio.daemon"},
    "netio.daemon": _DAEMON - {"netio.workers"},
    "netio.doctor": _DAEMON,
}

# Module from outside -> the parts of the package that may import it.
RESERVED = {
    "cryptography": {"crypto"},
    "netfilterqueue": {"netio"},
    "prctl": {"netio"},
    "time": {"netio", "sockopt", "authenticate", "cli.progress"},
    "socket": {"netio", "control.client", "sockopt", "authenticate"},
    "select": {"netio"},
    "selectors": {"netio"},
    "subprocess": {"netio"},
    "scapy": {"dissect"},
}


def module_name(path: Path) -> str:
    """Dotted name below the package: 'core.engine', 'wire', 'sockopt'."""
    parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module_name(path): path for path in sorted((ROOT / PACKAGE).rglob("*.py"))}


def within(module: str, parts: set[str]) -> bool:
    return any(module == part or module.startswith(part + ".") for part in parts)


def imports(module: str, source: str, is_package: bool) -> Iterator[str]:
    """Every module that the source imports, absolute, wherever the statement stands."""
    absolute = [PACKAGE, *module.split(".")] if module != "__init__" else [PACKAGE]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = node.level - 1 if is_package else node.level
            base = absolute[: len(absolute) - up] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                yield inner if inner.removeprefix(PACKAGE + ".") in MODULES else origin


def room(module: str) -> str:
    """Of a part with rooms: the sub-package, or the module that stands outside of all."""
    return ".".join(module.split(".")[:2])


def room_allows(module: str, inside: str) -> set[str]:
    """The parts from which `module` may import where `inside` belongs to the same part of the package."""
    part = module.partition(".")[0]
    has_rooms = part in ("crypt", "eno", "netio") and inside.startswith(part + ".")
    return ROOMS[room(module)] | {room(module)} if has_rooms else {inside}


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    part = module.split(".", maxsplit=1)[0]
    found = []
    for target in imports(module, source, is_package):
        inside = target.removeprefix(PACKAGE + ".")
        if target == PACKAGE:
            continue
        if inside != target:
            if not within(inside, ALLOWED[part] | {part}) or not within(inside, room_allows(module, inside)):
                found.append(f"{module} imports {target}")
        elif target.split(".")[0] in RESERVED and not within(module, RESERVED[target.split(".")[0]]):
            found.append(f"{module} imports {target}")
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("module", MODULES)
def test_import_directions(module: str) -> None:
    assert module.split(".", maxsplit=1)[0] in ALLOWED, f"{module}: say in this test what it may import"
    path = MODULES[module]
    assert violations(module, path.read_text(), path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("wire.options", "import tcpcryptd.core"),
        ("wire.options", "from ..core import engine"),
        ("core.engine", "import time"),
        ("core.engine", "def f():\n    from time import monotonic"),
        ("core.engine", "from tcpcryptd.crypt import CryptFactory"),
        ("crypt.handshake.state", "from tcpcryptd.core import engine"),
        ("crypt.handshake.state", "from cryptography.hazmat.primitives import hashes"),
        ("crypt.handshake.state", "import tcpcryptd.eno"),
        ("crypt.protection.sealer", "from tcpcryptd.crypt.handshake import state"),
        ("eno.stream.flow", "from tcpcryptd.eno.handshake.context import Handshake"),
        ("control.codec", "import socket"),
        ("netio.loop", "import scapy.all"),
        ("netio.loop", "from tcpcryptd.netio.kernel import netlink"),
        ("netio.kernel.netlink", "from tcpcryptd.netio.process.memory import lock_memory"),
        ("netio.firewall.rule_watch", "from tcpcryptd.netio.packets.queue import PacketQueue"),
        ("netio.clients.refusal", "import tcpcryptd.netio.firewall.selection"),
    ],
)
def test_a_wrong_import_is_seen(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.engine", "from . import timers\nfrom .verdict import Action\nimport tcpcryptd.wire.options"),
        ("crypt.handshake.state", "from tcpcryptd.core.protocol import Context\nfrom tcpcryptd.wire import segment"),
        ("control.client", "import socket"),
        ("cli.tcpcryptd", "from tcpcryptd import __version__"),
    ],
)
def test_a_right_import_passes(module: str, source: str) -> None:
    assert violations(module, source) == []


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules of which each imports the one before and the last is the first, if there are any."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_modules_import_each_other() -> None:
    """Those for types alone count, too: whoever reads one has to read the other."""
    graph = {}
    for module, path in MODULES.items():
        targets = imports(module, path.read_text(), path.name == "__init__.py")
        graph[module] = {target.removeprefix(PACKAGE + ".") for target in targets} & MODULES.keys()
    assert circle(graph) == []


def test_a_circle_is_seen() -> None:
    assert circle({"core.engine": {"core.timers"}, "core.timers": {"core.limits"}, "core.limits": {"core.engine"}})
    assert not circle({"core.engine": {"core.timers", "core.limits"}, "core.timers": {"core.limits"}})


@pytest.mark.parametrize("module", MODULES)
def test_modules_stay_small(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= 400


@pytest.mark.parametrize("module", [module for module in MODULES if module.split(".")[0] in ("core", "crypt", "eno")])
def test_verdicts_are_not_compared_by_identity(module: str) -> None:
    """They are tuples, which compiled code makes anew: `verdict is DROP` is never true there."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot):
            other = node.comparators[0]
            assert not (isinstance(other, ast.Name) and other.id in ("ACCEPT", "ACCEPT_PLAIN", "DROP")), node.lineno
