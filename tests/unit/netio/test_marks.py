import pytest

from tcpcryptd.core.verdict import ConnectionClass, Direction
from tcpcryptd.netio.marks import MarkScheme


@pytest.mark.parametrize("mask", [0x70000000, 0x7, 0xE0000000, 0xFF00])
def test_marks_are_distinct_and_under_the_mask(mask: int) -> None:
    scheme = MarkScheme(mask)
    marks = [scheme.of_class(each) for each in ConnectionClass] + [scheme.of_injection(each) for each in Direction]
    assert len(set(marks)) == len(ConnectionClass) + len(Direction)
    assert all(mark & ~mask == 0 for mark in marks)
    assert scheme.of_class(ConnectionClass.UNDECIDED) == 0
    assert scheme.foreign == mask ^ 0xFFFFFFFF


@pytest.mark.parametrize("mask", [0, -1, 0x3, 0x60000000, 0x70000001, 0x1_0000_0000, 0x5])
def test_mask_that_does_not_do(mask: int) -> None:
    with pytest.raises(ValueError, match="mark mask"):
        MarkScheme(mask)


def test_match_is_what_iptables_reads() -> None:
    assert MarkScheme(0x700).match(0x200) == "0x200/0x700"
