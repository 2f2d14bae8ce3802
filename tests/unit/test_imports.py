"""The import directions of docs/architecture.md, read off the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "tcpcryptd"

# Part of the package -> parts that it may import, besides itself and the package's own version.
ALLOWED = {
    "wire": set[str](),
    "crypto": set[str](),
    "control": set[str](),
    "core": {"wire"},
    "crypt": {"core.protocol", "crypto", "wire"},
    "eno": {"core.protocol", "crypto", "identity", "wire"},
    "identity": {"core.protocol", "crypto", "wire"},
    "netio": {"core", "control", "wire"},
    "cli": {
        "netio",
        "core",
        "crypt",
        "eno",
        "control",
        "crypto.identity",
        "crypto.key_log",
        "crypto.key_pool",
        "crypto.ssh_keys",
        "dissect",
        "identity",
        "pcap",
        "wire.build",
    },
    "sockopt": {"control"},
    "authenticate": {"crypto.identity", "sockopt"},
    "dissect": {"wire"},
    "pcap": {"crypto", "dissect", "identity", "wire"},
    "__init__": set[str](),
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


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    part = module.split(".", maxsplit=1)[0]
    found = []
    for target in imports(module, source, is_package):
        inside = target.removeprefix(PACKAGE + ".")
        if target == PACKAGE:
            continue
        if inside != target:
            if not within(inside, ALLOWED[part] | {part}):
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
        ("crypt.handshake", "from tcpcryptd.core import engine"),
        ("crypt.handshake", "from cryptography.hazmat.primitives import hashes"),
        ("crypt.handshake", "import tcpcryptd.eno"),
        ("control.codec", "import socket"),
        ("netio.loop", "import scapy.all"),
    ],
)
def test_a_wrong_import_is_seen(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.engine", "from . import timers\nfrom .verdict import Action\nimport tcpcryptd.wire.options"),
        ("crypt.handshake", "from tcpcryptd.core.protocol import Context\nfrom tcpcryptd.wire import segment"),
        ("control.client", "import socket"),
        ("cli.tcpcryptd", "from tcpcryptd import __version__"),
    ],
)
def test_a_right_import_passes(module: str, source: str) -> None:
    assert violations(module, source) == []


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
