"""The tables of states in docs/protocol.md and docs/eno.md, compared with the code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tcpcryptd.core.protocol import ProtocolState

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = {"crypt": "protocol.md", "eno": "eno.md"}

Name = tuple[str, str]
"""A module and what it defines."""


class Code:
    """What one protocol's modules define, and what that refers to."""

    def __init__(self, part: str) -> None:
        self.definitions: dict[Name, ast.ClassDef | ast.FunctionDef] = {}
        self.known: dict[str, dict[str, Name]] = {}
        for path in sorted((ROOT / "tcpcryptd" / part).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            names = self.known[module] = {}
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef):
                    self.definitions[module, node.name] = node
                    names[node.name] = module, node.name
                elif isinstance(node, ast.ImportFrom):
                    names |= {alias.name: (node.module or "", alias.name) for alias in node.names}
        self.states = {name for name, node in self.definitions.items() if self._is_state(name, node)}

    def _is_state(self, name: Name, node: ast.AST) -> bool:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            return False
        methods = [each for origin in self.lineage(name) for each in ast.walk(self.definitions[origin])]
        return any(isinstance(each, ast.Attribute) and each.attr == "transition" for each in methods)

    def lineage(self, name: Name) -> list[Name]:
        """A class and those of its protocol that it inherits from."""
        bases = getattr(self.definitions.get(name), "bases", [])
        above = [self.known[name[0]].get(ast.unparse(base), ("", "")) for base in bases]
        return [name, *(each for base in above if base in self.definitions for each in self.lineage(base))]

    def references(self, name: Name, *, of_types: bool) -> set[Name]:
        """What a function, or a class with what it inherits, refers to; `of_types`: also for the types of arguments."""
        found = set()
        for origin in self.lineage(name):
            definition = self.definitions[origin]
            functions = [each for each in definition.body if isinstance(each, ast.FunctionDef)]
            parts: list[ast.AST] = [*functions] if isinstance(definition, ast.ClassDef) else [definition]
            if not of_types:
                parts = [statement for each in parts for statement in getattr(each, "body", [])]
            names = [each.id for part in parts for each in ast.walk(part) if isinstance(each, ast.Name)]
            found |= {self.known[origin[0]][each] for each in names if each in self.known[origin[0]]}
        return (found & self.definitions.keys()) - {name}

    def made_by(self, state: Name) -> set[str]:
        """The states that it makes itself."""
        return {name for _, name in self.references(state, of_types=False) & self.states}

    def made_after(self, state: Name) -> set[str]:
        """The states that can follow it, and those that can follow these."""
        seen: set[Name] = set()
        waiting = self.references(state, of_types=True)
        while waiting:
            seen |= waiting
            waiting = {each for name in waiting for each in self.references(name, of_types=True)} - seen
        return {name for _, name in seen & self.states}


@cache
def code(part: str) -> Code:
    return Code(part)


def table(part: str) -> dict[str, str]:
    """The states of the document, and what they leave for."""
    text = (ROOT / "docs" / DOCUMENTS[part]).read_text()
    lines = text.partition("| state | this host has | leaves for |\n")[2].partition("\n\n")[0].splitlines()[1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {state.strip("`"): follows for state, _, follows in rows}


STATES = [(part, state) for part in DOCUMENTS for state in sorted(code(part).states)]


@pytest.mark.parametrize("part", DOCUMENTS)
def test_each_state_is_in_the_table(part: str) -> None:
    assert table(part).keys() == {name for _, name in code(part).states}


@pytest.mark.parametrize(("part", "state"), STATES, ids=[f"{part} {name}" for part, (_, name) in STATES])
def test_what_a_state_leaves_for(part: str, state: Name) -> None:
    listed = set(re.findall(r"`(\w+)`", table(part)[state[1]]))
    assert code(part).made_by(state) <= listed <= code(part).made_after(state)


def test_a_state_says_its_name() -> None:
    class Waiting(ProtocolState):
        """A state of a protocol."""

    assert repr(Waiting()) == "Waiting"
