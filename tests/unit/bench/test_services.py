import pytest

from bench import services
from tests.e2e.harness import HarnessError

WRK = """\
Running 3s test @ http://10.0.0.2:8080/page
  2 threads and 50 connections
  9000 requests in 3.00s, 180.00MB read
Requests/sec:   2999.87
Transfer/sec:     58.60MB
"""
REDIS = """\
"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
"GET","55248.62","0.182","0.056","0.175","0.239","0.335","1.007"
"""


def test_rates() -> None:
    assert services.parse_wrk(WRK) == 2999.87
    assert services.parse_redis(REDIS) == 55248.62


@pytest.mark.parametrize("output", ["", WRK.replace("2999.87", "0.00"), WRK + "  Non-2xx or 3xx responses: 12\n"])
def test_what_is_no_rate_of_pages(output: str) -> None:
    with pytest.raises(HarnessError, match="wrk"):
        services.parse_wrk(output)


@pytest.mark.parametrize("output", ["", "Could not connect", REDIS.replace("55248.62", "0")])
def test_what_is_no_rate_of_requests(output: str) -> None:
    with pytest.raises(HarnessError, match="redis"):
        services.parse_redis(output)


def test_programs_that_are_missing_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert services.are_installed(("sh",))
    assert not services.are_installed(("sh", "no-such-program"))
    assert "no-such-program is not installed" in capsys.readouterr().err
