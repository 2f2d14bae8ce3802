"""Coverage-guided fuzzing with atheris: `python -m fuzz.guided CORPUS... [libFuzzer options]`, for one protocol.

The protocol is the environment variable FUZZ_PROTOCOL, crypt by default. `pip install .[fuzz]` brings atheris.
"""

import os
import sys

import atheris

with atheris.instrument_imports(include=["tcpcryptd"]):
    from fuzz.script import run
    from fuzz.target import TARGETS


def main() -> None:
    """Runs until libFuzzer ends it."""
    target = TARGETS[os.environ.get("FUZZ_PROTOCOL", "crypt")]

    def test_one_input(data: bytes) -> None:
        run(data, target)

    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
