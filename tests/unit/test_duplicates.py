"""What is one thing stands once."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("tcpcryptd", "tests", "bench", "fuzz", "scripts", "examples")
LEAST = 4
"""Lines of a body; shorter ones may be alike by chance."""


def body(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Without docstring, comments and layout."""
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return "\n".join(map(ast.unparse, statements))


def test_no_function_stands_twice() -> None:
    """A helper that a second file needs goes where both can import it."""
    places: dict[str, list[str]] = defaultdict(list)
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                    text = body(node) if node.end_lineno - node.lineno >= LEAST else ""
                    if text.count("\n") >= LEAST - 1:
                        places[text].append(f"{file.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert [where for where in places.values() if len(where) > 1] == []
