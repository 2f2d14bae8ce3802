"""CPU time of the engine for one packet on the wire, in microseconds, without kernel and queue.

With the CRYPT protocol a large packet is cut into segments, and the time is that of one.

Run: python -m bench.segments, with PYTHONPATH=build/compiled and -P for the compiled packet path.
"""

import struct
import time
from collections.abc import Callable

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.protocol import ProtocolFactory
from tcpcryptd.core.verdict import Action, ConnectionClass, Direction, Gathered, joined
from tcpcryptd.crypt import CryptConfig, CryptFactory
from tcpcryptd.crypto.frame_aead import FRAME_AEADS, FrameAead
from tcpcryptd.crypto.suites import SYMMETRIC_SUITES, X25519_HPKE, SymmetricSuite
from tcpcryptd.eno import EnoConfig, EnoFactory
from tcpcryptd.netio.process.allocator import keep_freed_memory
from tcpcryptd.wire.checksum import address_sum
from tcpcryptd.wire.segment import ACK, SYN, lengths, make, reverse_key

PAYLOAD = 1408
LARGE = 60_000
"""Bytes in one packet where the kernel has merged segments, or not yet cut them."""
COUNT = 8
"""Packets before they are acknowledged: few, so that memory is used again as it is in a daemon."""
ROUNDS = 500
KEY = bytes((10, 0, 0, 1, 10, 0, 0, 2)) + struct.pack(">HH", 40000, 5001)
SYN_OPTIONS = bytes.fromhex("020405b40402080a00000001000000000103030a")
TIMESTAMP = bytes.fromhex("0101080a0000000100000001")


class Pair:
    """Two engines with an encrypted connection between them."""

    def __init__(self, make_factory: Callable[[], ProtocolFactory]) -> None:
        self.handshake: list[bytes] = []
        """Its packets as they were on the wire."""
        factories = make_factory(), make_factory()
        config = EngineConfig(offers=(factories[0].name,))
        self.client, self.server = (Engine(config, [factory]) for factory in factories)
        self._send(self.client, self.server, KEY, 1000, 0, SYN)
        self._send(self.server, self.client, reverse_key(KEY), 5000, 1001, SYN | ACK)
        self._send(self.client, self.server, KEY, 1001, 5001, ACK)
        for sender, receiver in (self.server, self.client), (self.client, self.server):
            for _, packet, _ in sender.packets_to_inject():
                self.handshake.append(packet)
                receiver.handle_packet(packet, Direction.IN, 0.0)

    def _send(
        self, sender: Engine, receiver: Engine, key: bytes, sequence: int, acknowledgment: int, flags: int
    ) -> None:
        area = SYN_OPTIONS if flags & SYN else TIMESTAMP
        packet = make(key, sequence=sequence, acknowledgment=acknowledgment, flags=flags, window=1000, option_area=area)
        sent = sender.handle_packet(packet, Direction.OUT, 0.0)[1]
        self.handshake.append(packet if sent is None else sent)
        receiver.handle_packet(self.handshake[-1], Direction.IN, 0.0)


def measure(engine: Engine, direction: Direction, packets: list[bytes]) -> tuple[float, list[bytes]]:
    """Microseconds of CPU time per packet that came out, and these."""
    out: list[bytes | Gathered] = []
    whole: list[bytes | Gathered] = []
    began = time.process_time()
    for packet in packets:
        action, changed, _ = engine.handle(packet, direction, 0.0, ConnectionClass.STREAM, 0)
        if action not in (Action.MODIFY, Action.SPLIT) or changed is None:
            raise RuntimeError("the connection is not encrypted")
        (out if action is Action.MODIFY else whole).append(changed)
    spent = time.process_time() - began
    packets = [joined(packet) for packet in out]
    packets += [packet for cut in whole for packet in split(joined(cut))]
    return spent / len(packets) * 1e6, packets


def split(packets: bytes) -> list[bytes]:
    """Packets that stand one after the other."""
    out, position = [], 0
    for length in lengths(packets):
        out.append(packets[position : position + length])
        position += length
    return out


def verified(packet: bytes) -> bytes:
    """As the kernel hands over what it has merged: with the sum of the pseudo header in the checksum's place."""
    total = address_sum(packet[12:20]) + len(packet) - 20
    return packet[:36] + struct.pack(">H", total % 65535) + packet[38:]


def crypt(suite: SymmetricSuite, size: int) -> Callable[[], ProtocolFactory]:
    """The CRYPT protocol with one suite, whole packets cut where they are large."""
    config = CryptConfig(public_key_algorithms=(X25519_HPKE,), symmetric_suites=(suite,), whole_packets=size == LARGE)
    return lambda: CryptFactory(config)


def eno(aead: FrameAead) -> Callable[[], ProtocolFactory]:
    """TCP-ENO with one AEAD algorithm."""
    return lambda: EnoFactory(EnoConfig(aeads=(aead,)))


def report(name: str, factory: Callable[[], ProtocolFactory], size: int) -> None:
    """Prints the least of some rounds, since the machine is noisy."""
    pair = Pair(factory)
    best = [float("inf")] * 4
    sequence = 1001
    for _ in range(ROUNDS):
        data, acks = [], []
        for _ in range(COUNT):
            common = {"window": 1000, "option_area": TIMESTAMP, "flags": ACK}
            data.append(
                make(KEY, sequence=sequence, acknowledgment=5001, payload=bytes(size), **common)  # type: ignore[arg-type]
            )
            sequence = sequence + size & 0xFFFFFFFF
            acks.append(make(reverse_key(KEY), sequence=5001, acknowledgment=sequence, **common))  # type: ignore[arg-type]
        sealed, wire = measure(pair.client, Direction.OUT, data)
        opened, _ = measure(
            pair.server, Direction.IN, [verified(packet) if len(packet) > PAYLOAD * 2 else packet for packet in wire]
        )
        sealed_ack, wire = measure(pair.server, Direction.OUT, acks)
        opened_ack, _ = measure(pair.client, Direction.IN, wire)
        best = [min(pair) for pair in zip(best, (sealed, opened, sealed_ack, opened_ack), strict=True)]
    print(f"{name:32}{size:8}" + f"{best[0]:8.1f}{best[1]:8.1f}{best[2]:10.1f}{best[3]:10.1f}")


def main() -> None:
    """Prints a line for each suite and size."""
    keep_freed_memory()
    print(f"{'suite':32}{'bytes':>8}{'seal':>8}{'open':>8}{'seal ACK':>10}{'open ACK':>10}   us")
    for suite in SYMMETRIC_SUITES:
        for size in (PAYLOAD, LARGE):
            report(suite.name, crypt(suite, size), size)
    for aead in FRAME_AEADS:
        for size in (PAYLOAD, LARGE):
            report(f"eno {aead.name}", eno(aead), size)


if __name__ == "__main__":
    main()
