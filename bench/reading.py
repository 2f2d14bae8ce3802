"""Processor time and memory of tcpcrypt-pcap for a long capture.

Captures of one connection each, plain and encrypted, are made by two engines, with a segment of 1,408 bytes and an
acknowledgment in turn. The packages are interpreted but for one with compiled modules in it.

Run: python -m bench.reading [--megabytes N] [--package build/compiled] [--against REVISION]
"""

import argparse
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.revision import unpack
from bench.segments import KEY, PAYLOAD, SYN_OPTIONS, TIMESTAMP, Pair, crypt, eno
from tcpcryptd.core.verdict import Direction
from tcpcryptd.crypto.frame_aead import AES_128_GCM
from tcpcryptd.crypto.suites import AES_256_GCM_SIV
from tcpcryptd.wire.segment import ACK, SYN, make, reverse_key
from tests.e2e.harness.namespace import ROOT

_MEGABYTE = 10**6
_ETHERNET = bytes(12) + b"\x08\x00"
_PROGRAM = """
import sys, time
from tcpcryptd.cli.tcpcrypt_pcap import main
code = main(sys.argv[1:])
# getrusage would count what the parent had before the program began.
memory = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(time.process_time(), *memory, file=sys.stderr)
sys.exit(code)
"""
_PAIRS = {"plain": None, "crypt": crypt(AES_256_GCM_SIV, PAYLOAD), "eno": eno(AES_128_GCM)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a line for each capture and package."""
    parser = argparse.ArgumentParser(prog="bench.reading", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--megabytes", type=int, default=219, metavar="N", help="size of each (default %(default)s)")
    parser.add_argument("--package", type=Path, default=ROOT, help="what to try (default: this tree)")
    parser.add_argument("--against", metavar="REVISION", help="also read them with this revision, interpreted")
    given = parser.parse_args(arguments)
    packages = {"this": given.package.resolve()}
    with tempfile.TemporaryDirectory(prefix="tcpcryptd-reading-") as name:
        directory = Path(name)
        if given.against is not None:
            packages[given.against] = directory / "package"
            packages[given.against].mkdir()
            unpack(given.against, packages[given.against])
        print(f"{'capture':16}{'MB':>6}{'packets':>10}{'revision':>12}{'seconds':>9}{'MB/s':>8}{'MiB':>6}")
        for kind in _PAIRS:
            files = directory / f"{kind}.pcap", directory / f"{kind}.pcapng"
            count = write(*files, packets(kind), given.megabytes * _MEGABYTE)
            for file in files:
                size = file.stat().st_size / _MEGABYTE
                for revision, package in packages.items():
                    seconds, memory = read(package, file)
                    figures = f"{revision:>12}{seconds:9.1f}{size / seconds:8.1f}{memory:6.0f}"
                    print(f"{file.name:16}{size:6.0f}{count:10}{figures}", flush=True)
                file.unlink()
    return 0


def read(package: Path, file: Path) -> tuple[float, float]:
    """Seconds of processor time of a package's tcpcrypt-pcap, and the most memory that it had, in MiB."""
    command = [sys.executable, "-P", "-c", _PROGRAM, str(file), "--find", "no such text"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(package)}, capture_output=True, text=True, check=False
    )
    if done.returncode != 3 or done.stdout.count("segments, bytes of payload") != 2:
        raise RuntimeError(f"{file.name} was not read: {done}")
    seconds, memory = map(float, done.stderr.split())
    return seconds, memory / 1024


def packets(kind: str) -> Iterator[bytes]:
    """A connection that goes on and on."""
    make_factory = _PAIRS[kind]
    pair = Pair(make_factory) if make_factory is not None else None
    if pair is not None:
        yield from pair.handshake
    else:
        yield _packet(KEY, 1000, 0, SYN, SYN_OPTIONS)
        yield _packet(reverse_key(KEY), 5000, 1001, SYN | ACK, SYN_OPTIONS)
    sequence = 1001
    while True:
        data = _packet(KEY, sequence, 5001, ACK, TIMESTAMP, bytes(PAYLOAD))
        sequence = sequence + PAYLOAD & 0xFFFFFFFF
        answer = _packet(reverse_key(KEY), 5001, sequence, ACK, TIMESTAMP)
        if pair is not None:
            data, answer = (_through(pair, each, each is data) for each in (data, answer))
        yield data
        yield answer


def _packet(key: bytes, sequence: int, acknowledgment: int, flags: int, area: bytes, payload: bytes = b"") -> bytes:
    return make(
        key,
        sequence=sequence,
        acknowledgment=acknowledgment,
        flags=flags,
        window=1000,
        option_area=area,
        payload=payload,
    )


def _through(pair: Pair, packet: bytes, from_client: bool) -> bytes:
    sender, receiver = (pair.client, pair.server) if from_client else (pair.server, pair.client)
    sealed = sender.handle_packet(packet, Direction.OUT, 0.0)[1]
    if sealed is None:
        raise RuntimeError("the connection is not encrypted")
    receiver.handle_packet(sealed, Direction.IN, 0.0)
    return sealed


def write(pcap: Path, pcapng: Path, packets: Iterator[bytes], size: int) -> int:
    """Writes packets to both files, a millisecond apart, up to a size in bytes of the first; how many."""
    with pcap.open("wb") as plain, pcapng.open("wb") as blocks:
        plain.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1))
        blocks.write(struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28))
        blocks.write(struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20))
        count = 0
        for count, packet in enumerate(packets, 1):
            frame = _ETHERNET + packet
            seconds, milliseconds = divmod(count, 1000)
            plain.write(struct.pack("<IIII", seconds, milliseconds * 1000, len(frame), len(frame)) + frame)
            length = 32 + len(frame) + -len(frame) % 4
            head = struct.pack("<7I", 6, length, 0, 0, count * 1000, len(frame), len(frame))
            blocks.write(head + frame + bytes(-len(frame) % 4) + struct.pack("<I", length))
            if plain.tell() > size:
                break
    return count


if __name__ == "__main__":
    sys.exit(main())
