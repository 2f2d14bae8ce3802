"""Hosts whose firewall takes all connections to be of one class."""

from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.netio.marks import MarkScheme
from tests.e2e.harness.host import Host


def divert_as(host: Host, connection_class: ConnectionClass) -> None:
    """Installs the rules; all connections are of that class from now on."""
    host.run(["scripts/launch_iptables.sh", "--install", "--all-ports", "--workers", "1"])
    marks = MarkScheme()
    mark = marks.match(marks.of_class(connection_class))
    for tool in ("iptables", "ip6tables"):
        for chain in ("OUTPUT", "PREROUTING"):
            host.run([tool, "-t", "mangle", "-I", chain, "-p", "tcp", "-j", "CONNMARK", "--set-xmark", mark])
