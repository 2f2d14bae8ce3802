"""Hosts whose firewall takes all connections to be of one class."""

from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.netio.marks import MarkScheme
from tests.e2e.harness.daemon import FIREWALL
from tests.e2e.harness.host import Host

SET_MARK = """table inet classes {{
    chain out {{ type filter hook output priority -160
        meta l4proto tcp ct mark set ct mark & {foreign:#x} | {mark:#x}
    }}
    chain in {{ type filter hook prerouting priority -160
        meta l4proto tcp ct mark set ct mark & {foreign:#x} | {mark:#x}
    }}
}}"""


def divert_as(host: Host, connection_class: ConnectionClass) -> None:
    """Installs the rules; all connections are of that class from now on."""
    host.launch_rules("--install", "--all-ports", "--workers", "1")
    marks = MarkScheme()
    if FIREWALL == "nft":
        host.run(["nft", SET_MARK.format(foreign=marks.foreign, mark=marks.of_class(connection_class))])
        return
    mark = marks.match(marks.of_class(connection_class))
    for tool in ("iptables", "ip6tables"):
        for chain in ("OUTPUT", "PREROUTING"):
            host.run([tool, "-t", "mangle", "-I", chain, "-p", "tcp", "-j", "CONNMARK", "--set-xmark", mark])
