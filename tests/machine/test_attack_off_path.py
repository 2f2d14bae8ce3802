"""Somebody who sees no packet, but knows or guesses addresses and ports, cannot change a connection in any stage."""

from random import Random

import pytest

from tcpcryptd.crypt.constants import Opcode
from tcpcryptd.crypt.option import HELLO, Suboption, encode
from tcpcryptd.wire.options import pad
from tcpcryptd.wire.segment import ACK, FIN, PSH, RST, SYN, make, reverse_key
from tcpcryptd.wire.sequence import add
from tests.machine.link import MAC
from tests.machine.world import LIMIT, World, text

STAGES = range(1, 7)
"""After so many packets on the wire the guesses come."""
FLAGS = (ACK, ACK | PSH, ACK | FIN, FIN, 0, RST, RST | ACK, SYN | ACK, SYN, 0xFF)
OPTIONS = (
    b"",
    encode(HELLO),
    encode(Suboption(Opcode.INIT1)),
    encode(Suboption(Opcode.INIT2)),
    encode(Suboption(Opcode.PKCONF, b"\x02\x04\x04")),
    bytes((MAC, 18)) + bytes(16),
)
GUESSES = 400


@pytest.mark.parametrize("victim", ["client", "server"])
@pytest.mark.parametrize("stage", STAGES)
def test_guesses_do_not_keep_a_connection_from_being_encrypted(stage: int, victim: str) -> None:
    world = World.encrypting()
    client = world.open(data=text(3000))
    assert world.clock.run_until(lambda: len(world.link.log) >= stage, LIMIT)
    isns = {crossing.segment.sequence for crossing in world.link.log if crossing.segment.flags & SYN}
    flow, name = (reverse_key(client.key), "server") if victim == "client" else (client.key, "client")
    random = Random(stage)
    for _ in range(GUESSES):
        flags = random.choice(FLAGS)
        if victim == "client" and flags & (SYN | ACK | RST | FIN) == SYN and stage < 3:
            # It needs no number and makes the kernel open the connection from both ends, without a daemon as well.
            continue
        number = random.choice(sorted(isns))
        packet = make(
            flow,
            sequence=add(number, random.randrange(1 << 24, (1 << 32) - (1 << 24))),
            acknowledgment=add(number, random.randrange(1 << 24, (1 << 32) - (1 << 24))),
            flags=flags,
            window=random.randrange(1 << 16),
            option_area=pad(random.choice(OPTIONS)),
            payload=random.choice((b"", b"guessed")),
        )
        world.link.deliver(name, packet)
    assert world.clock.run_until(lambda: bool(world.server.stack.accepted) and client.all_acknowledged, LIMIT)
    (server,) = world.server.stack.accepted
    assert bytes(server.received) == text(3000)
    world.exchange(client, server)
    assert world.session_ids()[0] is not None
    world.assert_nothing_in_clear()
