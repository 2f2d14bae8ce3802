import pytest

from tcpcryptd.netio.firewall.selection import SELF_ENCRYPTED_PORTS, Selection


def test_ports_with_encryption_of_their_own_are_excluded_by_default() -> None:
    assert Selection().excluded == SELF_ENCRYPTED_PORTS


def test_more_can_be_excluded() -> None:
    assert Selection(exclude_ports=(80, 443)).excluded == tuple(sorted({80, *SELF_ENCRYPTED_PORTS}))


def test_all_ports() -> None:
    assert Selection(all_ports=True).excluded == ()
    assert Selection(all_ports=True, exclude_ports=(25,)).excluded == (25,)


def test_a_port_that_is_named_is_meant() -> None:
    assert Selection(ports=(443,)).excluded == ()


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_bad_port(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        Selection(ports=(port,))
    with pytest.raises(ValueError, match="port"):
        Selection(exclude_ports=(port,))


@pytest.mark.parametrize(
    "name", ["", "a b", "eth0 -j ACCEPT", "eth0\n-F", "-j", "!eth0", "a" * 16, "a/b", "é", "+", 'a"b']
)
def test_bad_interface(name: str) -> None:
    with pytest.raises(ValueError, match="interface"):
        Selection(interfaces=(name,))


def test_too_many() -> None:
    with pytest.raises(ValueError, match="more than"):
        Selection(ports=tuple(range(1, 1000)))
