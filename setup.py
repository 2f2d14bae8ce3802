"""With TCPCRYPTD_COMPILE set, compiles the packet path with mypyc: the same source, about twice as fast."""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext

PACKET_PATH = (
    *("wire", "core", "crypto", "crypt", "eno"),
    *("netio/loop.py", "netio/queue.py", "netio/queue_reader.py", "netio/netlink_queue.py", "netio/offload_guard.py"),
    "netio/verdicts.py",
)
NOT_COMPILED = ("__init__.py", "config.py", "aes_ctr_seqiv.py")
"""A configuration has a subclass outside, and mypyc does not know the types of fields of the last."""


def modules() -> list[str]:
    """The modules that every packet passes through."""
    paths = [Path("tcpcryptd", name) for name in PACKET_PATH]
    found = [file for path in paths for file in ([path] if path.suffix else path.glob("*.py"))]
    return sorted(str(file) for file in found if file.name not in NOT_COMPILED)


class BuildInParallel(build_ext):
    """Compiles the files of one extension on all cores, which setuptools does one after the other."""

    def build_extensions(self) -> None:
        """As the base class does."""
        compile_some = self.compiler.compile

        def compile_all(sources: list[str], *arguments: Any, **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return [*chain(*pool.map(lambda source: compile_some([source], *arguments, **options), sources))]

        self.compiler.compile = compile_all
        super().build_extensions()


def extensions() -> list[Any]:
    """None unless they are asked for."""
    if "TCPCRYPTD_COMPILE" not in os.environ:
        return []
    from mypyc.build import mypycify  # noqa: PLC0415  (only who compiles needs it)

    options = ["--strict", "--explicit-package-bases"]
    return mypycify([*options, *modules()], opt_level="2", multi_file=True, target_dir="build/c")


setup(cmdclass={"build_ext": BuildInParallel}, ext_modules=extensions())
