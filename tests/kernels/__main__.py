"""`python -m tests.kernels [TEST ...]`, as root: see docs/kernels.md."""

import argparse
import os
import sys

from tests.kernels import machine
from tests.kernels.packages import Archive, Kernel, PackagesError
from tests.kernels.report import Result, table
from tests.kernels.work import APT, RESULTS, TABLE

VARIANTS = ("nft", "iptables-nft", "iptables-legacy")
"""Whose rules the daemons under test have; with the first, others have iptables-nft."""
CHOSEN = (
    "tests/e2e/test_transfer.py::test_http",
    "tests/e2e/test_nft.py",
    "tests/e2e/test_gateway.py::test_an_inside_host_opens",
    "tests/e2e/test_gateway.py::test_a_death_leaks_nothing",
    "tests/e2e/test_flowtables.py",
    "tests/e2e/test_host_networks.py",
    "tests/e2e/test_accurate_ecn.py",
)
"""The basics, and what this machine's kernel may not have. All end-to-end tests would take hours."""
TEST_SECONDS = 600
MINUTES = 90


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options; their defaults come from the environment as `make` has it."""
    parser = argparse.ArgumentParser(prog="make test-kernels", description=__doc__)
    parser.add_argument("--kernels", default=os.environ.get("KERNELS", ""), help="such as '6.1 6.12.107-1'")
    parser.add_argument(
        "--variants", default=os.environ.get("VARIANTS") or " ".join(VARIANTS), help="whose rules (default %(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for each boot (default %(default)s)")
    parser.add_argument("tests", nargs="*", default=CHOSEN, help="as pytest takes them")
    return parser.parse_args(arguments)


def command(variant: str, tests: list[str]) -> list[str]:
    """What runs the tests inside."""
    program = f"/usr/sbin/xtables-{'legacy' if variant == 'iptables-legacy' else 'nft'}-multi"
    firewall = f"TCPCRYPTD_TEST_FIREWALL={variant.partition('-')[0]}"
    links = "".join(
        f"ln -sf {program} /usr/sbin/{name}{suffix}; "
        for name in ("iptables", "ip6tables")
        for suffix in ("", "-save", "-restore")
    )
    pytest = [".venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "e2e", "-o"]
    pytest += [f"timeout={TEST_SECONDS}", "--junit-xml=/results/tests.xml", "-rs", *tests]
    return ["sh", "-c", f'{links}exec env {firewall} "$@"', "sh", *pytest]


def try_kernel(kernel: Kernel, variant: str, tests: list[str], minutes: float) -> Result:
    """Boots once."""
    result, directory = Result(kernel, variant), RESULTS / f"{kernel.version}-{variant}"
    try:
        machine.run(kernel, command(variant, tests), directory, minutes * 60)
    except machine.MachineError as error:
        result.failed.append(f"the machine: {error}")
    if (directory / "tests.xml").exists():
        result.read(directory / "tests.xml")
    elif not result.failed:
        result.failed.append((directory / "output").read_text(errors="replace")[-500:])
    sys.stdout.write(f"{kernel.release}, {variant}: {result.row()}\n  ({directory}/output)\n")
    sys.stdout.flush()
    return result


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    options = parse(arguments)
    try:
        archive = Archive(APT)
        versions = [archive.find(each) for each in options.kernels.split()] or archive.newest()
        kernels = [archive.fetch(version) for version in versions]
    except PackagesError as error:
        sys.stderr.write(f"test-kernels: {error}\n")
        return 2
    results = [
        try_kernel(kernel, variant, list(options.tests), options.minutes)
        for kernel in kernels
        for variant in options.variants.split()
    ]
    TABLE.write_text(table(results))
    sys.stdout.write(table(results))
    return 0 if all(each.is_good for each in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
