"""Every citation leads somewhere: pages and anchors, sections of RFCs and of crypt-option.md, files."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = ("tcpcryptd", "tests", "docs", "fuzz", "bench", "scripts", "examples", "findings", "packaging")
SUFFIXES: Final = {".py", ".md", ".sh", ".lua", ".service", ".toml"}
RFCS: Final = tomllib.loads((ROOT / "tests/unit/rfc_sections.toml").read_text())
GENERATED: Final = {"bench/results", "build", "dist"}

_COMMENT: Final = re.compile(r"\s*\n\s*(?:#|--)?\s*")
_SECTION: Final = r"(?:[A-C]\.)?\d+(?:\.\d+)*"
_LIST: Final = rf"{_SECTION}(?:(?:, and |, | and | to | or ){_SECTION}(?![\w:]))*"
_RFC: Final = re.compile(
    rf"RFC (\d{{3,5}})(?:,? (?:sections?|appendix) ({_LIST})"
    rf"|,? (\d+(?:\.\d+)+(?:(?:, | and | to ){_SECTION})*)|, (\d+)(?=[):;]))"
)
_CRYPT: Final = re.compile(rf"crypt-option\.md,? sections? ({_LIST})")
_BARE: Final = re.compile(rf"\((sections? {_LIST})[,;)]")
"""A section of the specification that the module names elsewhere."""
_PAGE: Final = re.compile(r"docs/([\w-]+\.md)(#[\w-]+)?")
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_FILE: Final = re.compile(r"`([\w./-]+\.(?:py|sh|md|lua|toml|svg))(?:[: ][^`]*)?`")


def sources() -> Iterator[Path]:
    """Every file of the tree that people wrote."""
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "setup.py"))
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            name = str(path.relative_to(ROOT))
            if path.suffix in SUFFIXES and path != Path(__file__) and not any(map(name.startswith, GENERATED)):
                yield path


@cache
def text_of(path: Path) -> str:
    """A file as one line: a citation can go on in the next line of a comment."""
    return _COMMENT.sub(" ", path.read_text())


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


@cache
def sections_of_crypt_option() -> frozenset[str]:
    page = ROOT / "docs/crypt-option.md"
    return frozenset(re.findall(r"^#+ (\d+(?:\.\d+)*)\. ", page.read_text(), re.MULTILINE))


@cache
def files() -> frozenset[str]:
    """Every file under all of the names by which pages call it: any part of its path from some folder on."""
    names: set[str] = set()
    for path in (*ROOT.glob("*"), *(each for folder in (*FOLDERS, ".ci") for each in (ROOT / folder).rglob("*"))):
        parts = path.relative_to(ROOT).parts
        names.update("/".join(parts[start:]) for start in range(len(parts)))
    return frozenset(names)


def mistakes(text: str, page: Path | None = None) -> list[str]:
    """What a text cites that there is not; `page` is where it stands, if relative links count."""
    wrong = [f"{found} without a page" for found in re.findall(r"\bspec section|design notes", text, re.IGNORECASE)]
    for name, anchor in _PAGE.findall(text):
        wrong += _missing(ROOT / "docs" / name, anchor[1:])
    for listed in _CRYPT.findall(text):
        cited = re.findall(_SECTION, listed)
        wrong += [f"crypt-option.md section {each}" for each in cited if each not in sections_of_crypt_option()]
    for number, *lists in _RFC.findall(text):
        cited = re.findall(_SECTION, " ".join(lists))
        wrong += [f"RFC {number} section {each}" for each in cited if each not in RFCS.get(number, {})]
    named = [RFCS[number] for number in set(re.findall(r"RFC (\d{3,5})", text)) if number in RFCS]
    for bare in _BARE.findall(text):
        cited = re.findall(_SECTION, bare)
        wrong += [f"{bare} of no RFC here" for each in cited if not any(each in sections for sections in named)]
    if page is not None:
        for target in _LINK.findall(text):
            if "://" not in target:
                name, _, anchor = target.partition("#")
                wrong += _missing((page.parent / name).resolve() if name else page, anchor)
        wrong += [f"{name} is no file" for name in _FILE.findall(text) if name not in files() and not _elsewhere(name)]
    return wrong


def _missing(path: Path, anchor: str) -> list[str]:
    if not path.exists():
        return [f"{path.name} is no file"]
    return [f"{path.name}#{anchor}"] if anchor and anchor not in anchors(path) else []


def _elsewhere(name: str) -> bool:
    """Whether a name is of a file on the host, or of a file that is made."""
    return name.startswith(("/", "build/", "dist/"))


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_cited_exists(path: Path) -> None:
    assert mistakes(text_of(path), path if path.suffix == ".md" else None) == []


def test_sections_of_the_table_of_conformance() -> None:
    chapters = re.split(r"^## ", (ROOT / "docs/rfc-conformance.md").read_text(), flags=re.MULTILINE)[1:3]
    for chapter in chapters:
        number = chapter[4:8]
        cited = re.findall(rf"^\| ({_LIST}) \|", chapter, re.MULTILINE)
        assert len(cited) > 60
        assert [each for row in cited for each in row.split(", ") if each not in RFCS[number]] == []


@pytest.mark.parametrize(
    "text",
    [
        "as in spec section 3",
        "(design notes, section 4)",
        "docs/nothing.md",
        "docs/eno.md#nothing",
        "docs/crypt-option.md section 99",
        "crypt-option.md, sections 3 and 99",
        "RFC 8548 section 3.10",
        "RFC 8548, sections 3.6, 3.7 and 4.9",
        "RFC 8548, 3.5 and 9.9",
        "RFC 8548, 12; and",
        "RFC 4242 section 1",
        "RFC 8548 in place (section 9.9)",
        "RFC 5869 appendix A.9",
        "[a page](nothing.md)",
        "[a section](eno.md#nothing)",
        "[here](#nothing)",
        "`wire/nothing.py`",
        "`test_nothing.py: test_of_nothing`",
    ],
)
def test_what_leads_nowhere_is_seen(text: str) -> None:
    assert len(mistakes(text, ROOT / "docs/protocol.md")) == 1


def test_the_worked_examples_name_files_that_define_what_they_name() -> None:
    rows = re.findall(r"^\| (`.+) \| (.+) \| .*\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    checked = 0
    for where, change in rows:
        named = [path for path in re.findall(r"`([\w/.-]+\.(?:py|lua))`", where) if (ROOT / path).is_file()]
        text = "\n".join((ROOT / path).read_text() for path in named)
        for name in re.findall(r"`([A-Za-z_.]+)`", change) if named else ():
            for part in name.split("."):
                defined = rf"(?:class|def) {part}\b|^(?:local )?{part}\b.*="
                assert re.search(defined, text, re.MULTILINE), f"{name} is not in {where}"
                checked += 1
    assert checked > 10


def test_citations_are_found() -> None:
    found = "".join(map(text_of, sources()))
    assert len(_CRYPT.findall(found)) > 50
    assert len(_RFC.findall(found)) > 150
    assert len(_LINK.findall(found)) > 100
