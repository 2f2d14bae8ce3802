"""The picture that `make demo` writes."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from scripts.picture import rows, svg

SVG = "{http://www.w3.org/2000/svg}"
COMMITTED = Path(__file__).parents[3] / "docs/demo.svg"


def texts(picture: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(picture).iter(f"{SVG}text")]  # noqa: S314  (it is our own)


def test_rows() -> None:
    assert rows(b"<letter>\n\xff~") == [("3c 6c 65 74 74 65 72 3e", "<letter>"), ("0a ff 7e", "..~")]


def test_a_picture_has_both_and_fits() -> None:
    picture = svg(b"<a & b>", bytes(range(200, 240)), "a & b")
    found = texts(picture)
    assert "<a & b>" in found
    assert "c8 c9 ca cb cc cd ce cf" in found
    assert [each for each in found if "on the wire" in each] == [
        "“a & b” is on the wire",
        "“a & b” is not on the wire",
    ]
    root = ET.fromstring(picture)  # noqa: S314
    right, bottom = (float(root.attrib[name]) for name in ("width", "height"))
    for each in root.iter(f"{SVG}text"):
        assert float(each.attrib["x"]) + float(each.attrib.get("textLength", 0)) < right
        assert float(each.attrib["y"]) < bottom


@pytest.mark.parametrize("word", ["swordfish", "password"])
def test_the_one_in_the_readme(word: str) -> None:
    """It is of real captures: readable on the left side alone."""
    found = texts(COMMITTED.read_text())
    left, right = found.index("without tcpcryptd"), found.index("with tcpcryptd on both hosts")
    assert word in "".join(found[left:right][3::2])
    assert word not in "".join(found[right:][3::2])
