"""Refusals; giving up root for good is tried in a process of its own."""

import pwd

import pytest

from tcpcryptd.netio.errors import ExitCode, PrivilegeError
from tcpcryptd.netio.kernel import capabilities
from tcpcryptd.netio.process.privileges import Account, require_root, verify_unprivileged


def entry(name: str, user_id: int) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", user_id, user_id, "", "/", "/bin/false"))


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    known = {"nobody": 65534, "root": 0, "toor": 0}
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entry(name, known[name]))
    return known


def test_own_user_is_preferred(users: dict[str, int]) -> None:
    assert Account.find() == Account("nobody", 65534, 65534)
    users["tcpcryptd"] = 999
    assert Account.find() == Account("tcpcryptd", 999, 999)


@pytest.mark.parametrize("name", ["missing", "root", "toor"])
def test_user_that_does_not_do(users: dict[str, int], name: str) -> None:
    with pytest.raises(PrivilegeError, match=name) as raised:
        Account.find(name)
    assert raised.value.exit_code == ExitCode.USAGE


def test_a_process_that_kept_its_privileges_is_found_out() -> None:
    with pytest.raises(PrivilegeError, match="were not given up"):
        verify_unprivileged(Account("nobody", 65534, 65534))


@pytest.mark.parametrize(("user_id", "capable"), [(1000, True), (0, False)])
def test_root_is_required(monkeypatch: pytest.MonkeyPatch, user_id: int, capable: bool) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user_id)
    monkeypatch.setattr(capabilities, "has_network_capabilities", lambda: capable)
    with pytest.raises(PrivilegeError, match="as root") as raised:
        require_root()
    assert raised.value.exit_code == ExitCode.PERMISSION
