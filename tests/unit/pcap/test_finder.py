from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.pcap import MAX_MATCHES, Chunk, Finder, Kind


def chunk(data: bytes, offset: int, kind: Kind = Kind.PLAIN, *, from_opener: bool = True) -> Chunk:
    return Chunk(1, from_opener, kind, offset, data, offset + 1, 0.0)


def places(finder: Finder, *chunks: Chunk) -> list[int]:
    return [match.offset for each in chunks for match in finder.feed(each)]


def all_places(text: bytes, data: bytes) -> list[int]:
    return [at for at in range(len(data)) if data.startswith(text, at)]


@given(st.binary(min_size=1, max_size=4), st.text("ab", max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_every_place_is_found_once_however_the_stream_is_cut(text: bytes, content: str, cuts: list[int]) -> None:
    data = content.encode()
    borders = sorted({0, len(data), *(cut for cut in cuts if cut <= len(data))})
    chunks = [chunk(data[start:end], start) for start, end in pairwise(borders)]
    for text_ in (text, b"ab", b"aba", b"a"):
        # Each piece comes a second time, as retransmissions do.
        assert places(Finder(text_), *(each for one in chunks for each in (one, one))) == all_places(text_, data)


def test_a_segment_that_overlaps_is_read_behind_what_was_known() -> None:
    assert places(Finder(b"secret"), chunk(b"a sec", 0), chunk(b"secret", 2)) == [2]


def test_a_hole_is_not_skipped() -> None:
    assert places(Finder(b"secret"), chunk(b"sec", 0), chunk(b"ret", 10)) == []


def test_directions_and_kinds_are_apart() -> None:
    finder = Finder(b"secret")
    assert places(finder, chunk(b"sec", 0), chunk(b"ret", 3, Kind.CIPHERTEXT)) == []
    assert places(finder, chunk(b"ret", 3, from_opener=False)) == []
    assert places(finder, chunk(b"ret", 3)) == [0]


def test_an_empty_text() -> None:
    with pytest.raises(ValueError, match="empty"):
        Finder(b"")


def test_the_first_that_is_not_listed_is_told_and_no_others() -> None:
    finder = Finder(b"a")
    most = chunk(b"a" * MAX_MATCHES, 0)
    assert [match.is_beyond for match in finder.feed(most)] == [False] * MAX_MATCHES
    # A retransmission has nothing new.
    assert list(finder.feed(most)) == []
    beyond = chunk(b"-aa", MAX_MATCHES)
    assert [(match.offset, match.is_beyond) for match in finder.feed(beyond)] == [(MAX_MATCHES + 1, True)]
    assert list(finder.feed(chunk(b"a", MAX_MATCHES + 3))) == []
    assert places(finder, chunk(b"a", 0, from_opener=False)) == [0]
