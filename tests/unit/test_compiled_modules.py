"""What mypyc makes another program of than Python does, in the modules that setup.py compiles."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tcpcryptd"
WHOLE = ("wire", "core", "crypto", "crypt", "eno")
"""Parts of the package that are compiled as a whole."""


def compiled_modules() -> list[Path]:
    setup = (ROOT / "setup.py").read_text()
    assert all(f'"{part}"' in setup for part in WHOLE)
    some = [file for file in PACKAGE.glob("netio/*.py") if f'"netio/{file.name}"' in setup]
    assert some
    return [*some, *(file for part in WHOLE for file in PACKAGE.glob(f"{part}/*.py"))]


def handled(function: ast.AST) -> dict[str, set[str]]:
    """The kinds of exceptions that a function calls by one name."""
    kinds: dict[str, set[str]] = defaultdict(set)
    for node in ast.walk(function):
        if isinstance(node, ast.ExceptHandler) and node.name and node.type:
            kinds[node.name].add(ast.unparse(node.type))
    return kinds


def confused(source: str, own: set[str]) -> Iterator[str]:
    """Functions in which a name stands for exceptions of several kinds, one of them of the package's own classes.

    Compiled, a name is of one type: the other kind then ends in a TypeError (findings/mypyc_names_of_exceptions.sh).
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            for kinds in handled(node).values():
                if len(kinds) > 1 and any(kind.rsplit(".", 1)[-1] in own for kind in kinds):
                    yield node.name


def own_classes() -> set[str]:
    trees = (ast.parse(file.read_text()) for file in PACKAGE.rglob("*.py"))
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def test_a_name_for_exceptions_of_two_kinds_is_found() -> None:
    handlers = "".join(f"  except {kind} as error: pass\n" for kind in ("Own", "ValueError"))
    assert list(confused(f"def f():\n  try: pass\n{handlers}", {"Own"})) == ["f"]
    assert not list(confused(f"def f():\n  try: pass\n{handlers}", set()))


def test_no_name_stands_for_exceptions_of_two_kinds() -> None:
    own = own_classes()
    assert not [(file.name, name) for file in compiled_modules() for name in confused(file.read_text(), own)]
