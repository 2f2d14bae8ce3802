"""A picture of the same letter on the wire, without and with encryption, as SVG."""

from collections.abc import Iterator, Sequence
from html import escape

ROW_BYTES = 8
_CHARACTER, _LINE, _MARGIN = 8.4, 20, 24
_COLUMNS = 3 * ROW_BYTES + 1 + ROW_BYTES
_PANEL = round(_COLUMNS * _CHARACTER) + 2 * _MARGIN
_GAP = 16
_HEAD = 78
_FOOT = 48
_STYLE = """\
text { font: 14px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre; fill: #d6deeb }
.title { font-weight: bold; fill: #ffffff }
.who { font-size: 12px; fill: #8b9bb4 }
.hexadecimal { fill: #8b9bb4 }
.bad { fill: #ff8f80; font-weight: bold }
.good { fill: #9be28d; font-weight: bold }
.panel { fill: #14202e; stroke: #33465c }"""


def rows(data: bytes) -> list[tuple[str, str]]:
    """Hexadecimal and text, eight bytes to a row."""
    pieces = [data[start : start + ROW_BYTES] for start in range(0, len(data), ROW_BYTES)]
    return [(each.hex(" "), "".join(chr(byte) if 32 <= byte < 127 else "." for byte in each)) for each in pieces]


def svg(plain: bytes, encrypted: bytes, word: str) -> str:
    """Both payloads side by side; `word` is what one of them gives away."""
    height = _HEAD + _LINE * max(len(rows(plain)), len(rows(encrypted))) + _FOOT
    width = 2 * _PANEL + _GAP
    title = f"The same letter on the wire: without tcpcryptd, '{word}' can be read; with it, it cannot"
    panels = [
        *_panel(0, height, "without tcpcryptd", plain, ("bad", f"“{word}” is on the wire")),
        *_panel(
            _PANEL + _GAP, height, "with tcpcryptd on both hosts", encrypted, ("good", f"“{word}” is not on the wire")
        ),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            *panels,
            "</svg>\n",
        ]
    )


def _panel(left: int, height: int, title: str, data: bytes, verdict: Sequence[str]) -> Iterator[str]:
    at = left + _MARGIN
    yield f'<rect class="panel" x="{left + 0.5}" y="0.5" width="{_PANEL - 1}" height="{height - 1}" rx="8"/>'
    yield f'<text class="title" x="{at}" y="30">{escape(title)}</text>'
    yield f'<text class="who" x="{at}" y="50">what somebody on the way sees</text>'
    for number, (hexadecimal, text) in enumerate(rows(data)):
        y = _HEAD + _LINE * number
        yield _line("hexadecimal", at, y, hexadecimal)
        yield _line("seen", at + (3 * ROW_BYTES + 1) * _CHARACTER, y, text)
    kind, words = verdict
    yield f'<text class="{kind}" x="{at}" y="{height - 20}">{escape(words)}</text>'


def _line(kind: str, x: float, y: int, text: str) -> str:
    # The length keeps columns straight whatever the font.
    length = len(text) * _CHARACTER
    return f'<text class="{kind}" x="{x:g}" y="{y}" textLength="{length:g}">{escape(text)}</text>'
