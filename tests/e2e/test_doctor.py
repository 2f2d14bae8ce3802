"""tcpcryptd doctor: what it finds on a host that is well, and on hosts that are not."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tcpcryptd.control.client import ControlClient
from tcpcryptd.netio.doctor.namespace import DIRECTORY, PREFIX, remove_leftovers
from tcpcryptd.netio.queue_numbers import DEFAULT_QUEUE, QueueNumbers, default_workers
from tests.e2e.harness import FLUSH, Host, wait_until
from tests.e2e.harness.daemon import FIREWALL, entry_point
from tests.e2e.harness.process import end, run
from tests.e2e.harness.users import NOBODY

OK, WARNING, PROBLEM = 0, 1, 2
RULES = ["nft rules"] if FIREWALL == "nft" else ["iptables", "iptables rules", "ip6tables rules"]


def doctor(host: Host, *options: str, self_test: bool = False) -> CompletedProcess[str]:
    switch = [] if self_test else ["--no-self-test"]
    environment = ["env", f"TMPDIR={host.directory}"]
    command = [*environment, *entry_point("tcpcryptd"), "doctor", "--firewall", FIREWALL, *switch, *options]
    done = host.run(command, check=False)
    assert "Traceback" not in done.stderr
    return done


def findings(done: CompletedProcess[str]) -> dict[str, list[str]]:
    """The lines by severity; every line that is not ok is followed by advice."""
    by_severity: dict[str, list[str]] = {"ok": [], "warning": [], "problem": []}
    lines = done.stdout.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith(" "):
            continue
        severity, text = line.split(maxsplit=1)
        by_severity[severity].append(text)
        assert after.strip().startswith("->") == (severity != "ok")
    worst = PROBLEM if by_severity["problem"] else WARNING if by_severity["warning"] else OK
    assert done.returncode == worst
    return by_severity


def namespaces() -> list[str]:
    return [line for line in run(["ip", "netns", "list"]).stdout.splitlines() if line.startswith(PREFIX)]


def leftovers(pid: int) -> list[str]:
    return [name for name in namespaces() if name.startswith(f"{PREFIX}-{pid}-")]


def test_a_host_that_is_well(host: Host) -> None:
    before = host.rules()
    found = findings(doctor(host, "--user", "nobody"))
    assert found["problem"] == []
    # Locked memory depends on what the tests themselves were given.
    assert [each for each in found["warning"] if not each.startswith(("locked memory:", "conntrack:"))] == []
    subjects = {line.split(":")[0] for line in found["ok"]}
    assert {"NFQUEUE", "buffers", *RULES, "ECN", "queues", "daemon"} < subjects
    assert host.rules() == before


def test_the_self_test(host: Host) -> None:
    done = doctor(host, self_test=True)
    for protocol in ("crypt", "eno"):
        begins = f"self-test {protocol}: two daemons encrypted"
        assert [line for line in findings(done)["ok"] if line.startswith(begins)]
    assert not [name for name in os.listdir(host.directory) if name.startswith(f"{PREFIX}-")]


@pytest.fixture
def doctor_at_work(host: Host, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A doctor in the middle of its self-test, and in this host's own mounts: others could not see its namespaces."""
    enter = ["nsenter", f"--net={DIRECTORY / host.namespace.name}"]
    options = ["--runtime-directory", str(directory / "none")]
    command = [*enter, *entry_point("tcpcryptd"), "doctor", *options]
    with (directory / "doctor.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(directory)})
    wait_until(lambda: len(leftovers(process.pid)) == 2, "the self-test has begun", 30)
    yield process
    end(process)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_self_test_leaves_nothing(doctor_at_work: subprocess.Popen[bytes], by: signal.Signals) -> None:
    process = doctor_at_work
    process.send_signal(by)
    wait_until(lambda: process.poll() is not None, "the doctor ends", 30)
    assert process.returncode != OK
    assert leftovers(process.pid) == []


def daemons_in(directory: Path) -> list[str]:
    """The processes whose command line names the directory."""
    commands = run(["ps", "-eo", "args"]).stdout.splitlines()
    return [command for command in commands if f"--runtime-directory {directory}/{PREFIX}" in command]


def test_what_a_killed_doctor_left_is_removed_by_the_next(
    doctor_at_work: subprocess.Popen[bytes], directory: Path
) -> None:
    doctor_at_work.kill()
    doctor_at_work.wait()
    assert leftovers(doctor_at_work.pid) != []
    assert remove_leftovers() >= 1
    assert leftovers(doctor_at_work.pid) == []
    wait_until(lambda: not daemons_in(directory), "its daemons have ended")


def test_a_running_daemon(host: Host) -> None:
    daemon = host.start_daemon()
    found = findings(doctor(host))
    assert "daemon: running, 0 connections encrypted" in found["ok"]
    queues = QueueNumbers.starting_at(DEFAULT_QUEUE, default_workers())
    assert f"queues: {queues} are the daemon's" in found["ok"]
    assert f"{FIREWALL} state: the rules of the running daemon" in found["ok"]
    host.namespace.sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", 0)
    assert any("be_liberal is 0 while" in line for line in findings(doctor(host))["problem"])
    host.run(FLUSH)
    socket_path = host.control_socket

    def repaired() -> bool:
        with ControlClient(socket_path) as client:
            return client.counters()["rules_repaired"] == 1

    wait_until(repaired, "the rules are repaired")
    assert any("rules_repaired is 1" in line for line in findings(doctor(host))["warning"])
    daemon.kill()
    assert any("was killed" in line for line in findings(doctor(host))["warning"])
    host.run([*entry_point("tcpcryptd"), "--cleanup"])
    assert not any("was killed" in line for line in findings(doctor(host))["warning"])


def test_taken_queues(host: Host, directory: Path) -> None:
    daemon = host.launch_daemon("--runtime-directory", str(directory / "other"))
    wait_until(lambda: "running as" in daemon.log(), "the daemon runs")
    assert any(line.startswith("queues: taken: queue 69") for line in findings(doctor(host))["problem"])
    assert not any("queues" in line for line in findings(doctor(host, "--queue", "7"))["problem"])


def test_a_taken_port(host: Host) -> None:
    with host.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 666))
        assert any("libtcpcrypt" in line for line in findings(doctor(host, "--libtcpcrypt-port", "666"))["problem"])
    assert "libtcpcrypt port: 666" in findings(doctor(host, "--libtcpcrypt-port", "666"))["ok"]


def test_a_host_that_asks_for_ecn(host: Host) -> None:
    host.namespace.sysctl("net.ipv4.tcp_ecn", 1)
    assert any(line.startswith("ECN: tcp_ecn is 1") for line in findings(doctor(host))["warning"])


@pytest.mark.parametrize("size", ["gso_max_size", "gro_max_size"])
def test_a_link_with_big_tcp(host: Host, size: str) -> None:
    for name, state in (("big0", "up"), ("big1", "down")):
        host.run(["ip", "link", "add", name, size, "180000", "type", "veth", "peer", "name", f"{name}peer"])
        host.run(["ip", "link", "set", name, state])
    (warning,) = (line for line in findings(doctor(host))["warning"] if line.startswith("links:"))
    assert "big0 has packets of up to 180000 bytes" in warning
    host.run(["ip", "link", "set", "dev", "big0", "gso_max_size", "65536", "gro_max_size", "65536"])
    assert not any(line.startswith("links:") for line in findings(doctor(host))["warning"])


def test_rules_in_the_tables_of_the_other_variant(host: Host) -> None:
    host.run(["iptables-legacy", "-t", "mangle", "-N", "TCPCRYPTD_OUT"])
    assert any("iptables-legacy" in line for line in findings(doctor(host))["problem"])


def test_without_root(host: Host) -> None:
    done = host.run([*NOBODY, *entry_point("tcpcryptd"), "doctor"], check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode == PROBLEM
    found = findings(done)
    assert found["problem"][0].startswith("root: not run by root")
    assert any(line.startswith("capabilities: missing") for line in found["problem"])
    assert not any(line.startswith("nft rules") for line in found["ok"])
    assert "install" not in done.stdout
    assert "report it" not in done.stdout


@pytest.mark.parametrize("firewall", ["iptables", "nft"])
def test_without_the_capability_to_administer_the_network(host: Host, firewall: str) -> None:
    """As in many containers: root, but not of the network."""
    limited = ["setpriv", "--bounding-set=-net_admin", "--"]
    command = [*limited, *entry_point("tcpcryptd"), "doctor", "--firewall", firewall, "--no-self-test"]
    done = host.run(command, check=False)
    assert "Traceback" not in done.stderr
    found = findings(done)
    assert "capabilities: missing: CAP_NET_ADMIN" in found["problem"]
    assert [line for line in found["problem"] if line.startswith(f"{firewall} rules: not allowed to ")]
    advice = {after.strip() for line, after in pairwise(done.stdout.splitlines()) if line.startswith("problem")}
    assert advice == {"-> run it as root, outside of a container"}


@pytest.mark.parametrize("option", ["--nonsense", "--queue=x", "--config=/nonexistent.toml"])
def test_wrong_options(host: Host, option: str) -> None:
    done = doctor(host, option)
    assert done.returncode == PROBLEM
    assert done.stdout == ""
    assert done.stderr


def test_help(host: Host) -> None:
    done = doctor(host, "--help")
    assert done.returncode == OK
    assert "--self-test" in done.stdout
