import ast
import re
from pathlib import Path

import pytest

from tcpcryptd.cli import metrics, tcnetstat
from tcpcryptd.cli.metrics import METRICS, as_prometheus
from tcpcryptd.core.protocol import Classical, Outcome
from tests.unit.control.daemon import RunningServer

PACKAGE = Path(metrics.__file__).parents[1]
SAMPLE = re.compile(r'(tcpcryptd_[a-z0-9_]+)((?:\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})?) ([0-9.]+)')


def samples(page: str) -> dict[str, str]:
    """Value by name and labels; all samples of a name stand together, after its type."""
    found: dict[str, str] = {}
    typed = ""
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            typed = line.split()[2]
        elif not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == typed
            assert found.setdefault(match[1] + match[2], match[3]) == match[3]
    return found


def test_counters_become_samples() -> None:
    page = as_prometheus({"encrypted": 3, "negotiated": 7, "stream_nanoseconds": 1_500_000_000, "stream_bytes_in": 2})
    found = samples(page)
    assert found["tcpcryptd_encrypted_connections"] == "3"
    assert found['tcpcryptd_handshakes_total{outcome="encrypted"}'] == "7"
    assert found['tcpcryptd_handshakes_total{outcome="refused"}'] == "0"
    assert found['tcpcryptd_segment_seconds_total{class="stream"}'] == "1.500000000"
    assert found['tcpcryptd_bytes_total{class="stream",direction="in"}'] == "2"
    assert page.endswith("\n")


def test_a_counter_that_no_metric_names() -> None:
    page = as_prometheus({"expired": 2})
    assert samples(page)['tcpcryptd_events_total{event="expired"}'] == "2"
    assert 'events_total{event="a\\"b\\n\\\\"} 1\n' in as_prometheus({'a"b\n\\': 1})


def test_names_follow_the_conventions() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.endswith("_total") is not metric.is_gauge
        assert "\n" not in metric.help
        assert metric.help.endswith(".")
    sources = [counter for metric in METRICS for counter in metric.samples.values()]
    assert len(set(sources)) == len(sources), "a counter is shown twice"


def counted_names() -> set[str]:
    """The names that the source gives to `count`, `abort`, `counters[...]` and an error's `counter`."""
    names: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"count", "abort"}
            ):
                names |= {
                    each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)
                }
            elif isinstance(node, ast.Subscript) and getattr(node.value, "attr", "") == "counters":
                names |= {
                    each.value
                    for each in [node.slice]
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                }
            elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "counter" and node.value:
                names.add(ast.literal_eval(node.value))
    return names


def test_what_the_engine_counts_has_that_name() -> None:
    """One that was renamed in the source would be 0 for ever. The shell's are held by tests/e2e/test_metrics.py."""
    counted = counted_names() | {"connections", "encrypted", "closed", "sessions", "uptime_seconds", "compiled"}
    counted |= {"post_quantum", *(reason.value for reason in Classical)}
    counted |= {f"identity_{outcome.value}" for outcome in Outcome}
    counted |= {"damaged", "invalid", "truncated", "black_hole_hosts", "black_hole_networks"}
    shell = re.compile(
        r"queue_|busy_poll_|undecided_|encrypted_|stream_|inject|segment|rules_|offload_|memory_shortages|worker"
    )
    for metric in METRICS:
        assert {counter for counter in metric.samples.values() if not shell.match(counter)} <= counted


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = RunningServer(tmp_path / "control.sock")
    try:
        assert tcnetstat.main(["--socket", str(server.path), "--metrics"]) == 0
    finally:
        server.stop()
    found = samples(capsys.readouterr().out)
    assert found['tcpcryptd_handshakes_total{outcome="plain"}'] == "3"


def test_without_a_daemon(tmp_path: Path) -> None:
    assert tcnetstat.main(["--socket", str(tmp_path / "control.sock"), "--metrics"]) == 3


def test_all_are_documented() -> None:
    page = (PACKAGE.parent / "docs" / "metrics.md").read_text()
    assert [metric.name for metric in METRICS if f"`tcpcryptd_{metric.name}`" not in page] == []
