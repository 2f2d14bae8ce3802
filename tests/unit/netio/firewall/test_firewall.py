"""Installing and removing, on tables that live in memory."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from tcpcryptd.netio.errors import ExitCode, FirewallError
from tcpcryptd.netio.firewall import choice, command
from tcpcryptd.netio.firewall.backend import RuleState
from tcpcryptd.netio.firewall.iptables import backend, tool
from tcpcryptd.netio.firewall.iptables.backend import IptablesRules
from tcpcryptd.netio.firewall.iptables.rules import RuleSet
from tcpcryptd.netio.firewall.iptables.tool import Iptables
from tcpcryptd.netio.firewall.selection import Selection
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.queue_numbers import QueueNumbers

FOREIGN = {
    "OUTPUT": ["-p udp -j ACCEPT"],
    "PREROUTING": [],
    "INPUT": [],
    "FORWARD": [],
    "POSTROUTING": [],
    "DOCKER": ["-j RETURN"],
}


class MemoryTable(Iptables):
    """A mangle table that understands what iptables-restore --noflush does."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.chains = {name: list(rules) for name, rules in FOREIGN.items()}
        self.refuse = False

    def is_legacy(self) -> bool:
        return False

    def save(self) -> list[str]:
        lines = ["# Generated", "*mangle", *(f":{name} - [0:0]" for name in self.chains)]
        lines += [f"-A {name} {rule}" for name, rules in self.chains.items() for rule in rules]
        return [*lines, "COMMIT"]

    def restore(self, transaction: str) -> None:
        if self.refuse:
            self.refuse = False
            raise FirewallError("refused")
        chains = {name: list(rules) for name, rules in self.chains.items()}
        lines = transaction.splitlines()
        assert (lines[0], lines[-1]) == ("*mangle", "COMMIT")
        for line in lines[1:-1]:
            self._apply(chains, line)
        self.chains = chains

    @staticmethod
    def _apply(chains: dict[str, list[str]], line: str) -> None:
        if line.startswith(":"):
            chains[line[1:].split(maxsplit=1)[0]] = []
            return
        command, name, *rest = line.split(" ", 2)
        rule = rest[0] if rest else ""
        match command:
            case "-A":
                chains[name].append(rule)
            case "-I":
                chains[name].insert(0, rule)
            case "-D":
                chains[name].remove(rule)
            case "-F":
                chains[name].clear()
            case "-X":
                used = any(f" {name}" in each for rules in chains.values() for each in rules)
                assert not chains.pop(name)
                assert not used
            case _:
                raise AssertionError(line)


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> list[MemoryTable]:
    found = [MemoryTable(4), MemoryTable(6)]
    monkeypatch.setattr(backend, "tables", lambda *_: found)
    monkeypatch.setattr(backend, "raw_tables", lambda *_: [])
    monkeypatch.setattr(backend, "chosen_variant", lambda *_: None)
    monkeypatch.setattr(backend, "tables_of_other_variant", lambda *_: [])
    return found


def make(selection: Selection | None = None) -> IptablesRules:
    return IptablesRules(selection or Selection(), QueueNumbers(), MarkScheme())


def test_install_comes_before_others_rules(both: list[MemoryTable]) -> None:
    make().install()
    for table in both:
        last = "-p tcp -m mark ! --mark 0x0/0x70000000 -j TCPCRYPTD_LAST"
        assert table.chains["OUTPUT"][0] == "-p tcp -j TCPCRYPTD_OUT"
        assert "TCPCRYPTD_ERROR_OUT" in table.chains["OUTPUT"][1]
        assert table.chains["OUTPUT"][2:] == ["-p udp -j ACCEPT", last]
        assert table.chains["DOCKER"] == FOREIGN["DOCKER"]
        assert table.chains["TCPCRYPTD_OUT"]


def test_install_twice_is_install_once(both: list[MemoryTable]) -> None:
    make().install()
    once = both[0].chains
    make().install()
    assert both[0].chains == once


def test_install_replaces_another_selection(both: list[MemoryTable]) -> None:
    make(Selection(ports=(80,), interfaces=("eth0",))).install()
    make().install()
    narrow = both[0].chains
    make().remove()
    make().install()
    assert both[0].chains == narrow


def test_rules_for_another_selection_take_their_place(both: list[MemoryTable]) -> None:
    rules = make()
    rules.install()
    before = [table.chains for table in both]
    rules.select(Selection(require=(ip_network("192.0.2.0/24"),)))
    assert rules.state() is RuleState.OUTDATED
    assert [table.chains for table in both] == before
    rules.repair()
    assert rules.state() is RuleState.INTACT
    assert any("192.0.2.0/24" in rule for rule in both[0].chains["TCPCRYPTD_OUT_REQUIRE"])
    rules.select(Selection())
    rules.repair()
    assert rules.state() is RuleState.INTACT
    assert [table.chains for table in both] == before


def test_remove_leaves_nothing_of_ours_and_all_of_others(both: list[MemoryTable]) -> None:
    make(Selection(ports=(80,), interfaces=("eth0",))).install()
    assert make().stale()
    make().remove()
    assert [table.chains for table in both] == [FOREIGN, FOREIGN]
    assert not make().stale()
    make().remove()
    assert [table.chains for table in both] == [FOREIGN, FOREIGN]


def test_remove_what_is_there_in_part(both: list[MemoryTable]) -> None:
    make().install()
    both[0].chains["OUTPUT"].pop(0)
    both[1].chains["INPUT"].clear()
    del both[1].chains["TCPCRYPTD_SAVE_IN"]
    make().remove()
    assert [table.chains for table in both] == [FOREIGN, FOREIGN]


@pytest.mark.parametrize(
    ("rule", "state"),
    [
        ("-p udp -j ACCEPT", RuleState.MOVED),
        ("-j CONNMARK --restore-mark", RuleState.MOVED),
        ("-p tcp -m tcp --dport 80", RuleState.MOVED),
        ("-j ACCEPT", RuleState.DAMAGED),
        ("! -p udp -j ACCEPT", RuleState.DAMAGED),
        ("-p tcp -j DOCKER", RuleState.DAMAGED),
        ("-p tcp -j TEE --gateway 10.0.0.1", RuleState.DAMAGED),
    ],
)
@pytest.mark.parametrize("chain", ["OUTPUT", "INPUT", "POSTROUTING"])
def test_rules_of_others_before_ours(both: list[MemoryTable], chain: str, rule: str, state: RuleState) -> None:
    rules = make(Selection(forward=("eth0",)))
    rules.install()
    assert rules.state() is RuleState.INTACT
    both[1].chains[chain].insert(0, rule)
    assert rules.state() is state
    rules.repair()
    assert rules.state() is RuleState.INTACT
    assert rule in both[1].chains[chain][1:]


def test_rules_of_others_behind_ours(both: list[MemoryTable]) -> None:
    rules = make()
    rules.install()
    for chain in ("OUTPUT", "PREROUTING"):
        both[0].chains[chain].append("-j ACCEPT")
        assert rules.state() is RuleState.MOVED
        rules.repair()
        assert rules.state() is RuleState.INTACT
        assert both[0].chains[chain][-2:] == ["-j ACCEPT", both[1].chains[chain][-1]]


def test_rules_in_the_tables_of_the_other_variant(
    both: list[MemoryTable], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a daemon that was started before somebody chose another one, and killed."""
    other = MemoryTable(4)
    other.program = "iptables-other"
    lines = [*RuleSet.build(Selection(), QueueNumbers.starting_at(100, 2), MarkScheme(), 4).lines()]
    other.restore("\n".join(["*mangle", *lines, "COMMIT"]))
    with monkeypatch.context() as patched:
        patched.setattr(backend, "tables_of_other_variant", lambda *_: [other])
        assert make().stale()
        assert make().queues_in_use() == set(range(100, 106))
        make().install()
    assert "iptables-other" in caplog.text
    assert other.chains == FOREIGN
    assert make().stale()
    assert make().queues_in_use() == {69, 70, 71}


def test_failure_to_install_leaves_nothing(both: list[MemoryTable]) -> None:
    both[1].refuse = True
    rules = make()
    with pytest.raises(FirewallError):
        choice.install(rules, {rules.name: rules})
    assert [table.chains for table in both] == [FOREIGN, FOREIGN]


def test_failure_to_install_leaves_rules_that_were_there(both: list[MemoryTable]) -> None:
    """They may hold back what an earlier daemon's connections would send in clear."""
    make().install()
    both[1].refuse = True
    rules = make()
    with pytest.raises(FirewallError):
        choice.install(rules, {rules.name: rules})
    assert all(table.chains != FOREIGN for table in both)


def test_print_needs_no_iptables(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--print", "--workers", "1", "--port", "80", "--address", "10.0.0.0/8", "--queue", "5"]) == 0
    printed = capsys.readouterr().out
    assert "--ctorigdstport 80" in printed
    assert "-s 10.0.0.0/8" in printed
    assert "--queue-num 6\n" in printed


def test_print_for_several_workers(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--print", "--workers", "2", "--queue", "5"]) == 0
    printed = capsys.readouterr().out
    assert "--queue-balance 5:6 --queue-bypass\n" in printed
    assert "--queue-balance 7:8\n" in printed
    assert all("_ERROR_" in line for line in printed.splitlines() if "--queue-num" in line)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--print", "--install"],
        ["--print", "--port", "0"],
        ["--print", "--address", "x"],
        ["--print", "--mark-mask", "1"],
        ["--print", "--queue", "65535"],
        ["--print", "--workers", "0"],
    ],
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        command.main(arguments)
    assert exit_.value.code == ExitCode.USAGE
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(("variant", "looked_into"), [("legacy", {4, 6}), ("nft", set[int]())])
def test_unprivileged_and_after_a_change_of_the_variant(
    both: list[MemoryTable], monkeypatch: pytest.MonkeyPatch, variant: str, looked_into: set[int]
) -> None:
    """A table of iptables-legacy that got rules is looked into, and no other: to look makes it."""
    monkeypatch.setattr(backend, "chosen_variant", lambda *_: variant)
    monkeypatch.setattr(backend, "tables_of_other_variant", tool.tables_of_other_variant)
    monkeypatch.setattr(tool, "legacy_tables", lambda _: [])
    monkeypatch.setattr(Iptables, "is_legacy", lambda _: False)
    looked: set[tuple[str, int, str]] = set()

    def save(table: Iptables) -> list[str]:
        looked.add((table.program.removeprefix("ip6tables").removeprefix("iptables"), table.version, table.table))
        return []

    monkeypatch.setattr(Iptables, "save", save)
    rules = make()
    rules.install()
    assert not looked
    rules.remove()
    assert looked == {("-legacy", version, "mangle") for version in looked_into}


def test_command_installs_and_removes(both: list[MemoryTable], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--install"]) == 0
    assert "TCPCRYPTD_OUT" in both[0].chains
    assert command.main(["--remove"]) == 0
    assert both[0].chains == FOREIGN
    both[0].refuse = True
    assert command.main(["--install"]) == ExitCode.FAILURE
    assert "refused" in capsys.readouterr().err


def test_missing_iptables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tool, "SEARCH_PATH", str(tmp_path))
    with pytest.raises(FirewallError, match="install the package iptables") as raised:
        Iptables(4).save()
    assert raised.value.exit_code == ExitCode.UNSUPPORTED


def test_complaint_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "iptables-save"
    program.write_text("#!/bin/sh\necho no such table >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(tool, "SEARCH_PATH", str(tmp_path))
    monkeypatch.setattr("tcpcryptd.netio.kernel.capabilities.has_network_capabilities", lambda: True)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(FirewallError, match="no such table"):
        Iptables(4).save()
