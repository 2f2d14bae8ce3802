import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.control.codec import MAX_LINE
from tcpcryptd.control.errors import MessageTooLong
from tcpcryptd.control.line_buffer import LineBuffer


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), max_size=8), st.data())
def test_lines_come_whole_however_the_stream_is_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines) + b"rest"
    buffer, found = LineBuffer(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        buffer.feed(stream[:size])
        stream = stream[size:]
        while buffer.has_line():
            found.append(buffer.next_line())
    assert found == lines
    assert buffer.next_line() is None


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_that_is_too_long_is_refused(end: bytes) -> None:
    buffer = LineBuffer()
    buffer.feed(b"x" * MAX_LINE + end)
    assert buffer.has_line()
    with pytest.raises(MessageTooLong):
        buffer.next_line()


def test_the_longest_line_is_taken() -> None:
    buffer = LineBuffer()
    buffer.feed(b"x" * (MAX_LINE - 1) + b"\n")
    assert buffer.next_line() == b"x" * (MAX_LINE - 1)
