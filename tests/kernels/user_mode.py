"""User-mode Linux from Debian's kernel source: a kernel that is a process, whose processes run on the real processor.

Its options are those that user-mode Linux has by default, Debian's for networks, all built in, and user_mode.config.
"""

import lzma
import os
import re
import shutil
from pathlib import Path

from tests.kernels.packages import Archive, Kernel, run, unpack

HERE = Path(__file__).parent
INIT = HERE / "init_user_mode.sh"
CONFIG = HERE / "user_mode.config"
DEBIAN_CONFIG = "config.amd64_none_amd64.xz"
MEMORY = "4G"
_OF_DEBIAN = re.compile(
    r"CONFIG_(?:NETFILTER|NF_|NFT_|IP_(?!VS|SET|DCCP|SCTP)|IP6_|IPV6|INET6?_|XFRM|NET_(?:SCH|CLS|ACT|EMATCH|IP|VRF|L3|UDP|KEY)"
    r"|BRIDGE(?!_EBT)|VLAN_|BONDING|VETH|DUMMY|TUN=|WIREGUARD|IPVLAN|MACVLAN|TLS|VXLAN|IFB|RPS|XPS|NETLINK_DIAG"
    r"|CRYPTO_(?:AES|GCM|SHA|CHACHA|ECHAINIV|SEQIV|CBC|HMAC|AUTHENC|CMAC|CCM|MD5|NULL)"
    r"|TCP_CONG_|MPTCP|NETWORK_PHY|BPF_STREAM)"
)
"""What the tests need of Debian's configuration, and what that is part of."""


def build(archive: Archive, version: str) -> Kernel:
    """Compiles the source of that version of the packages, unless it was: about twenty minutes.

    Raises PackagesError, also where the compilation fails.
    """
    series = ".".join(version.split(".")[:2])
    packages = archive.fetch_packages((f"linux-source-{series}", f"linux-config-{series}"), version)
    directory = archive.directory / f"{version}-user-mode"
    image = directory / "linux"
    if not image.exists():
        shutil.rmtree(directory, ignore_errors=True)
        unpack(packages, directory / "unpacked")
        (source,) = directory.glob("unpacked/usr/src/*.tar.*")
        (debian,) = directory.glob(f"unpacked/usr/src/*/{DEBIAN_CONFIG}")
        run("tar", "--extract", "--strip-components=1", "--file", str(source), directory=directory)
        _make(directory, "x86_64_defconfig")
        with (directory / ".config").open("a") as options:
            options.writelines(_of_debian(lzma.decompress(debian.read_bytes()).decode()))
            options.write(CONFIG.read_text())
        _make(directory, "olddefconfig")
        _make(directory, f"-j{os.cpu_count()}", "linux")
    return Kernel(f"{version}, user mode", packages, image, None)


def command(image: Path, results: Path) -> list[str]:
    """What starts it."""
    return [
        *(str(image), f"mem={MEMORY}", "seccomp=on", "panic=-1", "quiet", "con=null", "con0=null,fd:1"),
        *("root=none", "rootfstype=hostfs", "rootflags=/", "ro", f"init={INIT}", f"RESULTS={results}"),
    ]


def _make(directory: Path, *targets: str) -> None:
    run("make", "--silent", "ARCH=um", *targets, directory=directory)


def _of_debian(configuration: str) -> list[str]:
    """Lines of Debian's configuration, with built in what it has as modules."""
    lines = configuration.splitlines()
    return [
        f"{line.removesuffix('=m')}=y\n" if line.endswith("=m") else f"{line}\n"
        for line in lines
        if _OF_DEBIAN.match(line)
    ]
