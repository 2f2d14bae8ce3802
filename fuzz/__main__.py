"""Random scripts by the million: `python -m fuzz --packets 10000000 --seed N`."""

import argparse
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random

from fuzz.corpus import load, save
from fuzz.oracle import Violation
from fuzz.script import run
from fuzz.target import TARGETS

_REPORT_SECONDS = 30.0
_LENGTHS = (40, 120, 300, 800)


def scripts(seed: int, corpus: list[bytes]) -> Iterator[bytes]:
    """Scripts without end: random ones, and changed ones of the corpus."""
    random = Random(seed)
    while True:
        script = bytearray(random.randbytes(random.choice(_LENGTHS)))
        if corpus and random.random() < 0.5:
            script = bytearray(random.choice(corpus))
            for _ in range(random.randrange(1, 12)):
                at = random.randrange(len(script) + 1)
                script[at : at + random.randrange(2)] = random.randbytes(random.randrange(3))
            script += random.randbytes(random.randrange(40))
        yield bytes(script)


def main() -> int:
    """Runs until enough packets went through; exit code 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--packets", type=int, default=100_000, help="how many packets the engines get at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--protocol", choices=sorted(TARGETS), default="crypt")
    parser.add_argument("--failures", type=Path, default=Path("build/fuzz"), help="where scripts that fail are written")
    parser.add_argument("scripts", nargs="*", type=Path, help="run these scripts instead")
    arguments = parser.parse_args()
    target = TARGETS[arguments.protocol]
    for path in arguments.scripts:
        print(f"{path}: {run(path.read_bytes(), target)} packets")
    if arguments.scripts:
        return 0
    packets = found = 0
    started = reported = time.monotonic()
    for runs, script in enumerate(scripts(arguments.seed, load(arguments.protocol)), 1):
        try:
            packets += run(script, target)
        except Exception as error:
            found += 1
            print(f"{save(arguments.failures, script)}: {type(error).__name__}: {str(error)[:2000]}", flush=True)
            if not isinstance(error, Violation):
                traceback.print_exc()
        if time.monotonic() - reported > _REPORT_SECONDS or packets >= arguments.packets:
            reported = time.monotonic()
            print(f"{reported - started:.0f} s: {runs} scripts, {packets} packets, {found} found", flush=True)
        if packets >= arguments.packets:
            return 1 if found else 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
