"""How this package was built."""

import platform
import sysconfig
from typing import Final

COMPILED: Final = not __file__.endswith(".py")
"""Whether the packet path is machine code (mypyc); interpreted, each packet takes about twice the time."""


def description() -> str:
    """For `--version`: "compiled, CPython 3.11.2"."""
    kind = "compiled" if COMPILED else "interpreted"
    return f"{kind}, {platform.python_implementation()} {platform.python_version()}"


def is_free_threaded() -> bool:
    """Whether this Python was built without the global interpreter lock (PEP 703)."""
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
