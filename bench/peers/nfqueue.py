"""NetfilterQueue with a program that accepts everything: what diverting costs, with nothing done to the packets."""

import sys

from bench.route import Route
from tcpcryptd.netio.kernel.queue_statistics import QUEUES_FILE
from tests.e2e.harness import Host, Network, wait_until

QUEUE = 69
PROGRAM = f"""
from netfilterqueue import NetfilterQueue
queue = NetfilterQueue()
queue.bind({QUEUE}, lambda packet: packet.accept(), max_len=4096, sock_len=4 << 20)
queue.run()
"""


def start(network: Network) -> Route:
    """Starts one on each host, for both directions."""
    for host in network.hosts():
        host.namespace.spawn([sys.executable, "-c", PROGRAM], log=host.directory / "nfqueue.log")
        wait_until(lambda: is_bound(host), "the queue is bound")  # noqa: B023  (called at once)
        for chain in ("OUTPUT", "PREROUTING"):
            host.run(["iptables", "-t", "mangle", "-A", chain, "-p", "tcp", "-j", "NFQUEUE", "--queue-num", str(QUEUE)])
    route = Route(network, network.server.ipv4)
    route.try_out()
    return route


def is_bound(host: Host) -> bool:
    """Whether a program on this host waits for the queue's packets."""
    return host.run(["cat", str(QUEUES_FILE)]).stdout.strip() != ""
