"""docs/rfc-conformance.md names modules, names in them, and tests: all of them exist, and no row is open."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE, TESTS = ROOT / "tcpcryptd", ROOT / "tests"
TABLE = ROOT / "docs" / "rfc-conformance.md"
LEVELS = {"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "REQUIRED", "RECOMMENDED"}
_QUOTED = re.compile(r"`([^`]+)`")


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the tables: section, level, requirement, where, test."""
    found = []
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith(("| §", "|---")):
            found.append([cell.strip() for cell in line[1:-1].split("|")])
    return found


@cache
def names(path: Path) -> frozenset[str]:
    """What a module defines: `name`, `Class.member`, `function(argument=)`, attributes that methods set included."""
    found: set[str] = set()

    def visit(node: ast.AST, owner: str, methods_of: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                found.add(child.name)
                visit(child, child.name + ".", child.name + ".")
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(owner + child.name)
                function = owner.rstrip(".") if child.name == "__init__" else owner + child.name
                arguments = [*child.args.args, *child.args.kwonlyargs]
                found.update(f"{function}({each.arg}=)" for each in arguments)
                visit(child, "", methods_of)
            elif isinstance(child, ast.Assign | ast.AnnAssign):
                for target in child.targets if isinstance(child, ast.Assign) else [child.target]:
                    if isinstance(target, ast.Name) and node.__class__ is not ast.FunctionDef:
                        found.add(owner + target.id)
                    elif isinstance(target, ast.Attribute):
                        found.add(methods_of + target.attr)
            else:
                visit(child, owner, methods_of)

    visit(ast.parse(path.read_text()), "", "")
    return frozenset(found)


def file_of_test(name: str) -> Path:
    """Where a test file of the table is."""
    return TESTS / name if name.startswith(("machine/", "e2e/")) else TESTS / "unit" / name


@cache
def all_tests() -> frozenset[str]:
    return frozenset(name for path in TESTS.rglob("test_*.py") for name in names(path) if name.startswith("test_"))


def mistakes(cells: list[str]) -> list[str]:
    """What a row names that there is not."""
    wrong = [] if "(open)" not in "".join(cells) else ["the row is open"]
    for cell in cells[3:]:
        module: Path | None = None
        for token in _QUOTED.findall(cell):
            if token.startswith(("--", "os.")):
                continue
            if token.startswith("docs/"):
                wrong += [] if (ROOT / token).exists() else [token]
            elif token.endswith(".py"):
                is_test = token.rpartition("/")[2].startswith("test_")
                module = file_of_test(token) if is_test else PACKAGE / token
                wrong += [] if module.exists() else [token]
            elif module is None:
                wrong += [] if token in all_tests() else [f"{token} in no file"]
            elif module.exists() and token not in names(module):
                # Behind a module there may be a test of another file, which is named in full elsewhere.
                wrong += [] if token in all_tests() else [f"{token} in {module.name}"]
    return wrong


ROWS = rows(TABLE.read_text())


def test_the_table_is_there() -> None:
    assert len(ROWS) > 150
    for cells in ROWS:
        assert len(cells) == 5, cells
        assert cells[0]
        assert cells[2]
        assert cells[4], f"no test, nor why not: {cells}"
        levels = [level for level in re.split(r", ", cells[1]) if level]
        assert set(levels) <= LEVELS, cells


@pytest.mark.parametrize("cells", ROWS, ids=lambda cells: f"{cells[0]} {cells[2][:40]}")
def test_what_a_row_names_exists(cells: list[str]) -> None:
    assert mistakes(cells) == []


@pytest.mark.parametrize(
    ("where", "test"),
    [
        ("`eno/nowhere.py`", "`test_round_trip`"),
        ("`eno/handshake/option.py` `nothing`", "`test_round_trip`"),
        ("`eno/handshake/offer.py` `propose(nothing=)`", "`test_round_trip`"),
        ("`eno/handshake/option.py` `SynOption.nothing`", "`test_round_trip`"),
        ("`eno/handshake/option.py`", "`test_of_nothing`"),
        ("`eno/handshake/option.py`", "`eno/test_nothing.py`"),
        ("`eno/handshake/option.py` (open)", "`test_round_trip`"),
    ],
)
def test_a_wrong_name_is_seen(where: str, test: str) -> None:
    assert len(mistakes(["1", "MUST", "something", where, test])) == 1
