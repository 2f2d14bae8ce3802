#!/bin/sh
# Runs the unit tests under another Python than .venv's, where one is at hand: the newest of those in the path and of
# pyenv's. Says so and succeeds when there is none.
set -eu
cd "$(dirname "$0")/.."

venv=build/second
first=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
for minor in 14 13 12 11; do
    [ "3.$minor" = "$first" ] && continue
    for python in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor".*/bin/python3; do
        "$python" -c 'import venv' 2>/dev/null || continue
        echo "second: $("$python" --version)"
        "$python" -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
        exec "$venv/bin/python" -m pytest -q -p no:cacheprovider tests/unit
    done
done
echo "second: no other Python from 3.11 on is here: nothing is tested a second time"
