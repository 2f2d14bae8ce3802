"""What people run behind a tunnel: a web server and a key-value store, each under the load that it is known for."""

import contextlib
import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.peers import find_program
from bench.route import REDIS_PORT, WEB_PORT, Route, Unavailable
from tests.e2e.harness import HarnessError
from tests.e2e.harness.process import end

PAGE_BYTES = 20_000
WEB_CONNECTIONS = 50
REDIS_CLIENTS = 20
REDIS_REQUESTS = 10_000
"""For each second that a measurement is to last."""
GRACE_SECONDS = 60

WEB_PROGRAMS = ("nginx", "wrk")
REDIS_PROGRAMS = ("redis-server", "redis-benchmark")

NGINX = """\
user root;
daemon off;
pid {directory}/nginx.pid;
worker_processes 1;
events {{ }}
http {{
    access_log off;
    server {{
        listen {port};
        root {directory};
        keepalive_requests 1000000000;
    }}
}}
"""
_RATE = re.compile(r"^Requests/sec:\s+([0-9.]+)$", re.MULTILINE)


def are_installed(programs: tuple[str, ...]) -> bool:
    """Whether all are; says so otherwise."""
    for name in programs:
        try:
            find_program(name)
        except Unavailable as reason:
            print(f"bench: not measured: {reason}", file=sys.stderr)
            return False
    return True


@contextlib.contextmanager
def web_server(route: Route) -> Iterator[None]:
    """Nginx on the server host, with a page of PAGE_BYTES."""
    server = route.network.server
    directory: Path = server.directory / "web"
    directory.mkdir(exist_ok=True)
    (directory / "page").write_bytes(bytes(PAGE_BYTES))
    file = directory / "nginx.conf"
    file.write_text(NGINX.format(directory=directory, port=WEB_PORT))
    command = [find_program("nginx"), "-p", str(directory), "-c", str(file), "-e", "stderr"]
    process = server.namespace.spawn(command, log=server.directory / "service.log")
    try:
        server.wait_listening(WEB_PORT)
        yield
    finally:
        end(process)


def web_requests(route: Route, seconds: int, *, keep_alive: bool) -> float:
    """Requests a second, over WEB_CONNECTIONS that are kept, or with a connection for each request."""
    command = [find_program("wrk"), "--threads", "2", "--connections", str(WEB_CONNECTIONS)]
    command += ["--duration", f"{seconds}s"]
    command += [] if keep_alive else ["--header", "Connection: close"]
    output = route.network.client.run(
        [*command, f"http://{route.address}:{WEB_PORT}/page"], timeout=seconds + GRACE_SECONDS
    ).stdout
    return parse_wrk(output)


def parse_wrk(output: str) -> float:
    """Requests a second; raises HarnessError when there were none, or other answers than the page."""
    rate = _RATE.search(output)
    if rate is None or not float(rate[1]) or "Non-2xx" in output:
        raise HarnessError(f"wrk: {output}")
    return float(rate[1])


@contextlib.contextmanager
def redis_server(route: Route) -> Iterator[None]:
    """Redis on the server host, without a file."""
    server = route.network.server
    command = [find_program("redis-server"), "--port", str(REDIS_PORT), "--protected-mode", "no"]
    # Tunnels come from the loopback interface.
    command += ["--bind", server.ipv4, "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(server.directory)]
    process = server.namespace.spawn(command, log=server.directory / "service.log")
    try:
        server.wait_listening(REDIS_PORT)
        yield
    finally:
        end(process)


def redis_requests(route: Route, seconds: int) -> float:
    """Requests (GET) a second, by REDIS_CLIENTS at once."""
    command = [find_program("redis-benchmark"), "-h", route.address, "-p", str(REDIS_PORT), "-t", "get", "--csv"]
    command += ["-c", str(REDIS_CLIENTS), "-n", str(REDIS_REQUESTS * seconds)]
    return parse_redis(route.network.client.run(command, timeout=seconds * 10 + GRACE_SECONDS).stdout)


def parse_redis(output: str) -> float:
    """Requests a second; raises HarnessError for another output."""
    rows = [row for row in csv.reader(output.splitlines()) if len(row) > 1 and row[0] == "GET"]
    if len(rows) != 1 or not float(rows[0][1]):
        raise HarnessError(f"redis-benchmark: {output}")
    return float(rows[0][1])
