"""The rules under test, whoever has them: hosts where all connections are of one class, and what others do to rules."""

import re
import socket

from tcpcryptd.core.verdict import ConnectionClass
from tcpcryptd.netio.marks import MarkScheme
from tests.e2e.harness.daemon import FIREWALL
from tests.e2e.harness.host import Host

FLUSH = ["nft", "flush", "table", "inet", "tcpcryptd"] if FIREWALL == "nft" else ["iptables", "-t", "mangle", "-F"]
"""The command of somebody who removes them; it leaves chains."""
SET_MARK = """table inet classes {{
    counter come {{ }}
    counter passed {{ }}
    chain out {{ type filter hook output priority -160
        meta l4proto tcp ct mark set ct mark & {foreign:#x} | {mark:#x}
    }}
    chain in {{ type filter hook prerouting priority -160
        meta l4proto tcp counter name come ct mark set ct mark & {foreign:#x} | {mark:#x}
    }}
    chain behind {{ type filter hook prerouting priority -140
        meta l4proto tcp counter name passed
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


def diverted_inwards(host: Host, family: int) -> int:
    """How many packets that came in were diverted since then, as encrypted; of nft's, of both families."""
    if FIREWALL == "nft":
        listed = host.run(["nft", "list", "counters", "table", "inet", "classes"]).stdout
        counts = dict(re.findall(r"counter (\w+) {\s*packets (\d+)", listed))
        return int(counts["come"]) - int(counts["passed"])
    tool = "iptables-save" if family == socket.AF_INET else "ip6tables-save"
    saved = host.run([tool, "-c", "-t", "mangle"]).stdout
    (packets,) = re.findall(r"\[(\d+):\d+\] -A TCPCRYPTD_IN .*--mark 0x20000000/0x70000000 -j NFQUEUE", saved)
    return int(packets)
