import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto.key_log import CRYPT, ENO, HEADER, MAX_LINE_LENGTH, KeyLogEntry, KeyLogError

NUMBERS = st.integers(0, 0xFFFFFFFF)
LINE = f"crypt 1 2 0 {'ab' * 20} 00f100f1 client {'cd' * 20}"


def entries() -> st.SearchStrategy[KeyLogEntry]:
    def of(
        protocol: str, session: int, suite: int, roles: tuple[str, str], master: int
    ) -> st.SearchStrategy[KeyLogEntry]:
        sizes = (st.binary(min_size=size, max_size=size) for size in (session, suite))
        secret = st.binary(min_size=master, max_size=master)
        return st.builds(
            KeyLogEntry, st.just(protocol), NUMBERS, NUMBERS, NUMBERS, *sizes, st.sampled_from(roles), secret
        )

    return of(CRYPT, 20, 4, ("client", "server"), 20) | of(ENO, 33, 2, ("a", "b"), 32)


@given(entries())
def test_a_line_gives_the_entry_back(entry: KeyLogEntry) -> None:
    line = entry.line()
    assert len(line) <= 211 <= MAX_LINE_LENGTH
    assert KeyLogEntry.parse(f"{line}\n") == entry
    assert entry.master.hex() not in repr(entry)


@pytest.mark.parametrize("line", ["", "\n", HEADER, "  # remark"])
def test_what_is_no_entry(line: str) -> None:
    assert KeyLogEntry.parse(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "crypt",
        LINE + " more",
        LINE.replace("crypt", "tls"),
        LINE.replace(" 1 ", " -1 "),
        LINE.replace(" 1 ", " 4294967296 "),
        LINE.replace(" 1 ", " 0x1 "),
        LINE.replace(" 1 ", " ١ "),
        LINE.replace("ab", "a", 1),
        LINE.replace("ab", "xy", 1),
        LINE.replace("00f100f1", "0001"),
        LINE.replace("client", "a"),
        LINE + "cd",
        "#" * (MAX_LINE_LENGTH + 1),
    ],
)
def test_a_wrong_line_is_refused_without_being_shown(line: str) -> None:
    with pytest.raises(KeyLogError) as caught:
        KeyLogEntry.parse(line)
    assert "cdcd" not in str(caught.value)


@given(st.text())
def test_any_text_is_an_entry_nothing_or_refused(text: str) -> None:
    try:
        entry = KeyLogEntry.parse(text)
    except KeyLogError:
        return
    assert entry is None or KeyLogEntry.parse(entry.line()) == entry
