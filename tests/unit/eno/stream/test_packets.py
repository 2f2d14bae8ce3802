"""Large packets in two pieces are those that are made in one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.core.protocol import Gathered
from tcpcryptd.eno.stream.packets import Fields, PacketBuilder
from tcpcryptd.wire.segment import ACK, PSH, make
from tests.machine.stack import checksums_are_right

KEYS = (bytes(range(12)), bytes(range(36)))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("checksum", [True, False])
@given(st.sampled_from([0, 1, 20_000, 32_767, 32_768, 32_769, 64_001]), st.sampled_from([b"", b"\x01" * 12]))
def test_two_pieces_are_the_packet(key: bytes, checksum: bool, size: int, area: bytes) -> None:
    header = make(key, sequence=0, acknowledgment=0, flags=ACK, window=0)[:-20]
    builder, fields = PacketBuilder(key), Fields(7, 9, ACK | PSH, 1000)
    payload = memoryview(bytes(range(256)) * 251)[:size]
    packet = builder.gather(header, fields, area, payload, checksum=checksum)
    assert isinstance(packet, Gathered) == (size >= 1 << 15)
    whole = packet.joined() if isinstance(packet, Gathered) else packet
    assert len(packet) == len(whole)
    assert whole == builder.build(header, fields, area, payload, checksum=checksum)
    assert checksums_are_right(whole, len(header)) or not checksum
