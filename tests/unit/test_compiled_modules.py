"""What mypyc makes another program of than Python does, in the modules that setup.py compiles."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tcpcryptd"


def compiled_modules() -> list[Path]:
    """What `modules` of setup.py says, which cannot be imported."""
    names = {"PACKET_PATH", "NOT_COMPILED", "modules"}
    parts = [node for node in ast.parse((ROOT / "setup.py").read_text()).body if names & set(bound(node))]
    scope: dict[str, Any] = {"Path": Path}
    exec(compile(ast.Module(parts, []), "setup.py", "exec"), scope)  # noqa: S102
    with chdir(ROOT):
        return [ROOT / module for module in scope["modules"]()]


def bound(node: ast.stmt) -> list[str]:
    """The names that a statement gives a value."""
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets]
    return [node.name] if isinstance(node, ast.FunctionDef) else []


def test_each_part_of_the_packet_path_is_compiled() -> None:
    found = {module.relative_to(PACKAGE).parts[0] for module in compiled_modules()}
    assert found == {"core", "crypt", "crypto", "eno", "identity", "netio", "wire"}


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


def test_bytes_are_not_indexed_with_slice_objects() -> None:
    """Compiled, bytes take any key that is not written as a slice for an index (findings/mypyc_slices_of_bytes.sh)."""
    for module in compiled_modules():
        for node in ast.walk(ast.parse(module.read_text())):
            assert not (isinstance(node, ast.Name) and node.id == "slice"), f"{module.name}:{node.lineno}"


def test_deletable_attributes_are_set() -> None:
    """Mypyc refuses the whole package when one is not there."""
    for module in compiled_modules():
        tree = ast.parse(module.read_text())
        assigned = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__deletable__":
                assert set(ast.literal_eval(node.value)) <= assigned, module.name
