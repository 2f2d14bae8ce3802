"""The table of options, the documents and what the engine keeps."""

import re
from dataclasses import fields
from pathlib import Path

from tcpcryptd import sockopt
from tcpcryptd.control.socket_option import OPTIONS, SocketOption
from tcpcryptd.core.options import ConnectionOptions

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sockopt.md"


def documented() -> dict[str, tuple[str, str]]:
    """When each option can be read and set, as the page says."""
    found = {}
    for names, get, set_ in re.findall(
        r"^\| (`TCP_[^|]*) \| ?([^|]*?) ?\| ?([^|]*?) ?\|", PAGE.read_text(), re.MULTILINE
    ):
        first, *others = re.findall(r"`(\w+)`", names)
        # Others are said by their ends: TCP_CRYPT_CMODE_DEFAULT, _NEVER.
        for name in (first, *(first.replace("_DEFAULT_NK", "").replace("_DEFAULT", "") + end for end in others)):
            found[name] = get, set_
    return found


def test_the_page_has_the_table() -> None:
    assert documented() == {option.name: (entry.get, entry.set) for option, entry in OPTIONS.items()}


def test_each_option_is_there() -> None:
    assert OPTIONS.keys() == set(SocketOption)
    assert {name for name in sockopt.__all__ if name.isupper()} == {option.name for option in SocketOption}


def test_each_field_can_be_set() -> None:
    assert {name for entry in OPTIONS.values() for name in entry.fields} == {
        field.name for field in fields(ConnectionOptions)
    }
