"""Installing and removing, by an nft that keeps one table in memory."""

import itertools
import json
import re
from ipaddress import ip_network
from pathlib import Path

import pytest

from tcpcryptd.netio.errors import ExitCode, FirewallError
from tcpcryptd.netio.firewall import choice, command
from tcpcryptd.netio.firewall.backend import Firewall, RuleState
from tcpcryptd.netio.firewall.nft import backend, tool
from tcpcryptd.netio.firewall.nft.backend import NftRules
from tcpcryptd.netio.firewall.selection import Selection
from tcpcryptd.netio.marks import MarkScheme
from tcpcryptd.netio.queue_numbers import QueueNumbers

QUEUE = re.compile(r"queue num (\d+)(?:-(\d+))?")


class MemoryNft:
    """Understands transactions of ours, and lists what came of them."""

    def __init__(self) -> None:
        self.handles = itertools.count(1)
        self.objects: list[dict[str, object]] | None = None
        self.refuses = False
        self.transactions: list[str] = []

    def run(self, *arguments: str, given: str = "") -> str:
        match arguments:
            case ("-f", "-"):
                if self.refuses:
                    raise FirewallError("nft failed: refused", ExitCode.UNSUPPORTED)
                self.transactions.append(given)
                self.objects = None if given.startswith("delete") else [*self._read(given)]
                return ""
            case ("-c", "-f", "-"):
                if self.refuses:
                    raise FirewallError("nft failed: no queue", ExitCode.UNSUPPORTED)
                return ""
            case ("list", "tables", "inet"):
                return "table inet tcpcryptd2\n" + ("table inet tcpcryptd\n" if self.objects is not None else "")
            case ("-j", "list", "tables", "inet"):
                return self._json([])
            case ("-j", "list", "table", "inet", "tcpcryptd"):
                if self.objects is None:
                    raise FirewallError("nft failed: No such file or directory", ExitCode.UNSUPPORTED)
                return self._json(self.objects)
        raise AssertionError(arguments)

    @staticmethod
    def _json(objects: list[dict[str, object]]) -> str:
        return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, *objects]})

    def _read(self, text: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = [{"table": {"family": "inet", "name": "tcpcryptd", "handle": 1}}]
        chain = ""
        for line in map(str.strip, text.splitlines()):
            if line.startswith("chain "):
                chain = line.split()[1]
                found.append({"chain": {"name": chain, "handle": next(self.handles)}})
            elif chain and line not in ("}", "") and not line.startswith("type "):
                expressions: list[object] = [{"accept": None}]
                if queue := QUEUE.search(line):
                    numbers = [int(each) for each in queue.groups() if each is not None]
                    expressions = [{"queue": {"num": {"range": numbers} if len(numbers) > 1 else numbers[0]}}]
                found.append({"rule": {"chain": chain, "handle": next(self.handles), "expr": expressions}})
        return found


@pytest.fixture
def nft(monkeypatch: pytest.MonkeyPatch) -> MemoryNft:
    memory = MemoryNft()
    monkeypatch.setattr(tool, "_run", memory.run)
    monkeypatch.setattr(backend, "tells_connections", lambda: True)
    return memory


def make(workers: int = 1) -> NftRules:
    return NftRules(Selection(), QueueNumbers.starting_at(10, workers), MarkScheme())


def test_installing_and_removing(nft: MemoryNft) -> None:
    rules = make()
    assert not rules.stale()
    rules.install()
    assert rules.stale()
    assert rules.state() is RuleState.INTACT
    rules.remove()
    assert not rules.stale()
    # What is not there is not deleted.
    rules.remove()
    assert len(nft.transactions) == 2


@pytest.mark.parametrize("workers", [1, 4])
def test_queues_in_use(nft: MemoryNft, workers: int) -> None:
    assert make(workers).queues_in_use() == set()
    make(workers).install()
    assert make().queues_in_use() == set(range(10, 10 + 3 * workers))


def test_any_change_is_damage_and_repaired(nft: MemoryNft) -> None:
    rules = make()
    rules.install()
    for number in range(len(nft.objects or [])):
        assert nft.objects is not None
        del nft.objects[number]
        assert rules.state() is RuleState.DAMAGED
        rules.repair()
        assert rules.state() is RuleState.INTACT
    assert nft.objects is not None
    table = nft.objects[0]["table"]
    assert isinstance(table, dict)
    table["flags"] = ["dormant"]
    assert rules.state() is RuleState.DAMAGED
    nft.objects = None
    assert rules.state() is RuleState.DAMAGED


def test_the_same_rules_put_back_by_somebody_else_are_damage(nft: MemoryNft) -> None:
    """Meanwhile they were not there."""
    rules = make()
    rules.install()
    make().install()
    assert rules.state() is RuleState.DAMAGED


def test_rules_for_a_new_vrf(nft: MemoryNft, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = make()
    rules.install()
    monkeypatch.setattr(backend, "vrf_names", lambda: ("red",))
    assert rules.state() is RuleState.MOVED
    rules.repair()
    assert rules.state() is RuleState.INTACT
    assert '"red"' in nft.transactions[-1]


def test_rules_for_another_selection(nft: MemoryNft) -> None:
    rules = make()
    rules.install()
    rules.select(Selection(require=(ip_network("192.0.2.0/24"),)))
    assert rules.state() is RuleState.OUTDATED
    assert "192.0.2.0/24" not in nft.transactions[-1]
    nft.refuses = True
    with pytest.raises(FirewallError, match="refused"):
        rules.repair()
    assert rules.state() is RuleState.OUTDATED
    nft.refuses = False
    rules.repair()
    assert rules.state() is RuleState.INTACT
    assert "192.0.2.0/24" in nft.transactions[-1]


def test_what_cannot_be_listed(nft: MemoryNft, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = make()
    rules.install()
    monkeypatch.setattr(tool, "_run", lambda *_, **__: "table inet tcpcryptd")
    with pytest.raises(FirewallError, match="another format"):
        rules.state()


def test_rules_that_are_there_and_cannot_be_listed_stay(nft: MemoryNft, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them, what is encrypted would go on in clear. They count as damaged until they have been seen."""
    rules = make()
    rules.install()
    with monkeypatch.context() as patch:
        patch.setattr(tool, "listed_table", lambda: (_ for _ in ()).throw(FirewallError("slow")))
        with pytest.raises(FirewallError, match="slow"):
            rules.repair()
    assert nft.objects is not None
    assert rules.state() is RuleState.DAMAGED
    rules.repair()
    assert rules.state() is RuleState.INTACT


def test_an_nft_without_json(nft: MemoryNft, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who takes iptables has to have it."""

    def run(*arguments: str, given: str = "") -> str:
        if "-j" in arguments:
            raise FirewallError("nft failed: JSON support not compiled-in", ExitCode.UNSUPPORTED)
        return nft.run(*arguments, given=given)

    monkeypatch.setattr(tool, "_run", run)
    with pytest.raises(FirewallError, match="JSON"):
        make().check()
    assert not make().stale()


def test_failure_to_install(nft: MemoryNft) -> None:
    nft.refuses = True
    with pytest.raises(FirewallError, match="refused"):
        make().install()
    assert nft.objects is None


def test_kernels_without_what_it_needs(nft: MemoryNft, monkeypatch: pytest.MonkeyPatch) -> None:
    make().check()
    assert not nft.transactions
    monkeypatch.setattr(backend, "tells_connections", lambda: False)
    with pytest.raises(FirewallError, match="GLUE_CT") as raised:
        make().check()
    assert raised.value.exit_code == ExitCode.UNSUPPORTED
    nft.refuses = True
    with pytest.raises(FirewallError, match="no queue"):
        make().check()


def test_missing_nft(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tool, "_ENVIRONMENT", {"PATH": str(tmp_path)})
    with pytest.raises(FirewallError, match="install the package nftables"):
        make().check()


class Fake:
    """A firewall that is there, or not."""

    def __init__(self, name: str, usable: bool = True, there: bool = True, left: bool = False) -> None:
        self.name, self.usable, self.there, self.left = name, usable, there, left
        self.done: list[str] = []

    def check(self) -> None:
        if not self.usable:
            raise FirewallError(f"{self.name} cannot be used", ExitCode.UNSUPPORTED)

    def is_there(self) -> bool:
        return self.there

    def text(self) -> str:
        return ""

    def select(self, selection: Selection) -> None:
        raise AssertionError(selection)

    def install(self) -> None:
        self.done.append("install")

    def state(self) -> RuleState:
        return RuleState.INTACT

    def repair(self) -> None:
        raise AssertionError

    def remove(self) -> None:
        self.done.append("remove")

    def stale(self) -> bool:
        return self.left

    def queues_in_use(self) -> set[int]:
        if not self.usable:
            raise FirewallError("cannot be checked")
        return {7} if self.left else set()

    def announced(self) -> frozenset[tuple[int, str]]:
        return frozenset()

    def legacy_versions(self) -> list[int]:
        return []


@pytest.mark.parametrize(
    ("usable", "name", "chosen"),
    [
        ((True, True), "auto", "a"),
        ((False, True), "auto", "b"),
        ((True, True), "b", "b"),
        ((False, True), "a", None),
        ((False, False), "auto", None),
    ],
)
def test_choice(usable: tuple[bool, bool], name: str, chosen: str | None) -> None:
    every: dict[str, Firewall] = {each: Fake(each, able) for each, able in zip("ab", usable, strict=True)}
    if chosen is not None:
        assert choice.choose(name, every).name == chosen
        return
    with pytest.raises(FirewallError, match="a cannot be used") as raised:
        choice.choose(name, every)
    assert raised.value.exit_code == ExitCode.UNSUPPORTED


def test_what_is_left_in_another_firewall_goes_when_the_new_rules_are_there() -> None:
    a, b, absent = Fake("a", left=True), Fake("b"), Fake("c", there=False)
    every: dict[str, Firewall] = {each.name: each for each in (a, b, absent)}
    assert choice.stale(every)
    assert choice.queues_in_use(every) == {7}
    choice.install(b, every)
    assert (a.done, b.done, absent.done) == (["remove"], ["install"], [])
    choice.remove(every)
    assert (a.done, b.done, absent.done) == (["remove"] * 2, ["install", "remove"], [])
    a.left = a.usable = False
    assert choice.queues_in_use(every) == set()
    assert not choice.stale(every)


def test_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--print", "--firewall", "nft", "--workers", "2", "--queue", "5"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# nft -f -\ntable inet tcpcryptd\n")
    assert "queue num 5-6 bypass\n" in printed
