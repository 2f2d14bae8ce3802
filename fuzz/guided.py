"""Coverage-guided fuzzing with atheris: `python -m fuzz.guided NEW CORPUS... [libFuzzer options]`, for one protocol.

The environment variable FUZZ_PROTOCOL names the protocol, crypt by default. `pip install .[fuzz]` brings atheris.
libFuzzer writes scripts that reach new code to the directory NEW, and scripts that fail to build/fuzz.
"""

import os
import sys
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["tcpcryptd"]):
    from fuzz.script import run
    from fuzz.target import TARGETS

FAILURES: Final = Path("build/fuzz")


def main() -> None:
    """Runs until libFuzzer ends it."""
    target = TARGETS[os.environ.get("FUZZ_PROTOCOL", "crypt")]

    def test_one_input(data: bytes) -> None:
        run(data, target)

    FAILURES.mkdir(parents=True, exist_ok=True)
    # libFuzzer takes the last of several.
    atheris.Setup([sys.argv[0], f"-artifact_prefix={FAILURES}/", *sys.argv[1:]], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
