"""The command line of the benchmark."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.quantities import MEASUREMENTS, QUICK, Parameters
from bench.regressions import MINIMUM_ROUNDS
from bench.revision import NoSuchRevision, commit_of
from bench.variants import PLAIN, VARIANTS, Variant

RESULTS = Path(__file__).parent / "results"

_MEANINGS = {
    "rounds": "measurements of each kind, in turn",
    "seconds": "length of a throughput measurement",
    "connections": "short connections per round",
    "round_trips": "round trips per latency measurement",
    "idle": "connections open at once for the measurement of memory",
}


@dataclass(frozen=True)
class Plan:
    """What is to be done. A whole run leaves nothing out; `output` is None when nothing is written."""

    parameters: Parameters
    variants: tuple[Variant, ...]
    measurements: tuple[str, ...]
    output: Path | None
    whole: bool
    check: bool
    against: str | None = None
    """Another revision, to be measured beside this one."""


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def parse_arguments(arguments: Sequence[str] | None = None) -> Plan:
    """The plan; ends the process with exit code 2 for arguments that cannot be."""
    names = [variant.name for variant in VARIANTS]
    parser = argparse.ArgumentParser(prog="bench", description="Encrypted against plain TCP, MTU 1500, as a ratio.")
    for name, meaning in _MEANINGS.items():
        parser.add_argument(
            "--" + name.replace("_", "-"),
            type=_positive,
            metavar="N",
            help=f"{meaning} (default: {getattr(Parameters, name)}; quick: {getattr(QUICK, name)})",
        )
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        choices=[*names, *MEASUREMENTS],
        help=f"only this variant ({', '.join(names)}; plain is always there) or this measurement "
        f"({', '.join(MEASUREMENTS)}); of a kind of which none is named, all; may be repeated",
    )
    parser.add_argument(
        "--output", type=Path, help=f"where to write the JSON document (default: {RESULTS}, for a whole run alone)"
    )
    parser.add_argument(
        "--check", action="store_true", help="exit code 4 when figures are worse than in the last file there"
    )
    parser.add_argument(
        "--against",
        metavar="REVISION",
        help="also measure tcpcryptd as of this revision, in turn with this one, and print the ratios",
    )
    given = parser.parse_args(arguments)
    if given.against is not None:
        try:
            commit_of(given.against)
        except NoSuchRevision:
            parser.error(f"--against {given.against}: git knows no such commit")
    defaults = QUICK if given.quick else Parameters()
    parameters = Parameters(**{name: getattr(given, name) or getattr(defaults, name) for name in _MEANINGS})
    if given.check and parameters.rounds < MINIMUM_ROUNDS:
        parser.error(f"--check takes at least {MINIMUM_ROUNDS} rounds: fewer have no spread")
    # A short or partial run would be a poor one for the next to be compared with.
    whole = parameters == Parameters(rounds=max(parameters.rounds, MINIMUM_ROUNDS)) and not given.only
    whole = whole and given.against is None
    return Plan(
        parameters=parameters,
        variants=tuple(
            variant for variant in VARIANTS if variant is PLAIN or variant.name in (_of(names, given.only) or names)
        ),
        measurements=tuple(_of(list(MEASUREMENTS), given.only) or MEASUREMENTS),
        output=given.output or (RESULTS if whole else None),
        whole=whole,
        check=given.check,
        against=given.against,
    )


def _of(names: list[str], chosen: list[str]) -> list[str]:
    return [name for name in names if name in chosen]
