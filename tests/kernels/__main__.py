"""`python -m tests.kernels [TEST ...]`, as root: see docs/kernels.md."""

import argparse
import os
import shlex
import sys

from tests.kernels import machine, user_mode
from tests.kernels.packages import Archive, Kernel, PackagesError
from tests.kernels.report import Result, table
from tests.kernels.work import APT, RESULTS, TABLE

VARIANTS = ("nft", "iptables-nft", "iptables-legacy")
"""Whose rules the daemons under test have; with the first, others have iptables-nft."""
BASIC = (
    "test_transfer.py::test_http[crypt-ipv4]",
    "test_transfer.py::test_http[eno-ipv6]",
    "test_lifecycle.py::test_rules_and_settings_are_as_before[kill and clean up-0]",
)
"""On each kernel with rules of each variant."""
FEATURES = (
    "test_nft.py::test_what_the_other_one_had_is_replaced_and_removed[iptables-nft]",
    "test_flowtables.py::test_encrypted_connections_stay_out_of_flowtables[2-eno-False-ip]",
    "test_host_networks.py::test_links_above_others[VLAN-crypt]",
    "test_host_networks.py::test_a_vrf[both-eno-ipv6]",
    "test_host_networks.py::test_an_ipsec_policy_for_tcp[ipv4-eno]",
    "test_host_networks.py::test_a_queue_of_others[crypt]",
    "test_host_networks.py::test_ktls[crypt]",
    "test_accurate_ecn.py::test_an_encrypted_connection_has_classic_ecn[eno]",
)
"""On each kernel with rules of the first variant: what kernels may lack. All end-to-end tests would take a day."""
TEST_SECONDS = 1200
MINUTES = 90


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options; their defaults come from the environment as `make` has it."""
    parser = argparse.ArgumentParser(prog="make test-kernels", description=__doc__)
    parser.add_argument("--kernels", default=os.environ.get("KERNELS", ""), help="such as '6.1 6.12.107-1'")
    parser.add_argument(
        "--variants", default=os.environ.get("VARIANTS") or " ".join(VARIANTS), help="whose rules (default %(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for each boot (default %(default)s)")
    parser.add_argument(
        "--user-mode",
        action="store_true",
        default=bool(os.environ.get("USER_MODE")),
        help="compile the kernel, and run it as a process",
    )
    parser.add_argument("tests", nargs="*", help="as pytest takes them")
    return parser.parse_args(arguments)


def chosen(variant: str) -> list[str]:
    """The tests by default."""
    return [f"tests/e2e/{each}" for each in BASIC + (FEATURES if variant == VARIANTS[0] else ())]


def script(variants: list[str], tests: list[str]) -> str:
    """What runs the tests inside, with rules of one variant after the other."""
    return "\n".join(f"{_links(each)}\n{shlex.join(_pytest(each, tests or chosen(each)))}" for each in variants)


def _links(variant: str) -> str:
    program = f"/usr/sbin/xtables-{'legacy' if variant == 'iptables-legacy' else 'nft'}-multi"
    names = (f"{name}{suffix}" for name in ("iptables", "ip6tables") for suffix in ("", "-save", "-restore"))
    return "\n".join(f"ln -sf {program} /usr/sbin/{name}" for name in names)


def _pytest(variant: str, tests: list[str]) -> list[str]:
    command = ["env", f"TCPCRYPTD_TEST_FIREWALL={variant.partition('-')[0]}", ".venv/bin/python", "-m", "pytest", "-v"]
    command += ["-p", "no:cacheprovider", "-m", "e2e", "-o", f"timeout={TEST_SECONDS}"]
    return [*command, f"--junit-xml=/results/{variant}.xml", "-rs", *tests]


def try_kernel(kernel: Kernel, variants: list[str], tests: list[str], minutes: float) -> list[Result]:
    """Boots once."""
    directory = RESULTS / kernel.version
    results = [Result(kernel, each) for each in variants]
    problem = "no result"
    try:
        machine.run(kernel, ["sh", "-c", script(variants, tests)], directory, minutes * 60)
    except machine.MachineError as error:
        problem = f"the machine: {error}"
    for result in results:
        file = directory / f"{result.variant}.xml"
        if file.exists():
            result.read(file)
        else:
            result.failed.append(problem)
        sys.stdout.write(f"{result.row()}\n")
    sys.stdout.write(f"  ({directory}/output)\n")
    sys.stdout.flush()
    return results


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    options = parse(arguments)
    try:
        archive = Archive(APT)
        versions = [archive.find(each) for each in options.kernels.split()] or archive.newest()
        kernels = [user_mode.build(archive, each) if options.user_mode else archive.fetch(each) for each in versions]
    except PackagesError as error:
        sys.stderr.write(f"test-kernels: {error}\n")
        return 2
    results: list[Result] = []
    for kernel in kernels:
        results += try_kernel(kernel, options.variants.split(), options.tests, options.minutes)
    TABLE.write_text(table(results))
    sys.stdout.write(table(results))
    return 0 if all(each.is_good for each in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
