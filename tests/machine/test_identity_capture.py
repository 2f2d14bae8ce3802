"""What tcpcrypt-pcap and the dissectors say of proofs in a capture."""

from pathlib import Path

import pytest
from scapy.layers.inet import IP
from scapy.utils import wrpcap

from tcpcryptd.dissect import read_capture
from tcpcryptd.identity.public_key import fingerprint
from tcpcryptd.pcap import ConnectionTable, KeyBook
from tcpcryptd.pcap.report import describe
from tests.machine.identities import KEYS, PROTOCOLS, authenticator, engine
from tests.machine.link import Crossing
from tests.machine.proofs import read
from tests.machine.world import Suite, World

pytestmark = PROTOCOLS


def report(world: World, path: Path) -> str:
    """What tcpcrypt-pcap says of the only connection that was on the wire."""
    wrpcap(str(path), [IP(each.packet) for each in world.link.log])
    table = ConnectionTable(KeyBook([]))
    for captured in read_capture(str(path)):
        list(table.add(captured))
    (connection,) = table.connections
    return "\n".join(describe(connection))


@pytest.mark.parametrize("classical", [False, True])
def test_proofs_are_verified(tmp_path: Path, suite: Suite, classical: bool) -> None:
    world = World(
        client=engine(authenticator("client"), 1, suite=suite, classical=classical),
        server=engine(authenticator("server"), 2, suite=suite, classical=classical),
    )
    client, server = world.connect()
    world.exchange(client, server)
    text = report(world, tmp_path / "capture.pcap")
    for name, arrow in (("client", ">"), ("server", "<")):
        assert f"{arrow} identity proved: {fingerprint(KEYS[name])}" in text
        assert f" identity {fingerprint(KEYS[name])}" in text


def test_a_wrong_proof_is_seen(tmp_path: Path, suite: Suite) -> None:
    """The client's message as it left, and as it came: the answer was made to another one."""
    world = World(
        client=engine(authenticator("client"), 1, suite=suite, classical=True),
        server=engine(authenticator("server"), 2, suite=suite, classical=True),
    )

    def changed(crossing: Crossing) -> list[bytes]:
        segment = crossing.segment
        payload = segment.payload
        found = read(payload)
        if found is not None and found[0] == "second":
            return [segment.edited(payload=payload[:-1] + bytes((payload[-1] ^ 1,)))]
        return [crossing.packet]

    world.link.filters.append(changed)
    client, _ = world.connect()
    world.clock.run_for(5)
    assert client.error is not None
    world.link.log[:] = [
        Crossing(each.time, each.sender, packet) for each in world.link.log for packet in changed(each)
    ]
    text = report(world, tmp_path / "capture.pcap")
    assert f"> identity proved: {fingerprint(KEYS['client'])}" in text
    assert "< THE PROOF OF IDENTITY IS WRONG" in text


def test_without_identities_nothing_is_said(tmp_path: Path, suite: Suite) -> None:
    world = World(client=engine(None, 1, suite=suite), server=engine(None, 2, suite=suite))
    client, server = world.connect()
    world.exchange(client, server)
    assert "dentity" not in report(world, tmp_path / "capture.pcap")
