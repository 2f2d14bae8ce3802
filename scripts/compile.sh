#!/bin/sh
# Builds build/compiled: the package with its packet path compiled by mypyc (setup.py), for `make run`, `bench`, `e2e` and
# `deb`, from a wheel as anybody would build it. The same source, about twice as fast. Needs .venv; quick when nothing has
# changed. Fails when it cannot be compiled.
set -eu
cd "$(dirname "$0")/.."

python=.venv/bin/python
target=build/compiled
sources=$(find tcpcryptd setup.py pyproject.toml -name '*.py' -type f -o -name pyproject.toml | sort)
wanted=$(cat $sources | sha256sum && "$python" -c 'import sys; print(sys.version)')

[ -f "$target/.made-from" ] && [ "$(cat "$target/.made-from")" = "$wanted" ] && exit 0
echo "compile: compiling the packet path (one to three minutes)"
rm -rf "$target" build/wheel build/lib* build/bdist.* build/temp.*
mkdir -p "$target"
if ! TCPCRYPTD_COMPILE=required "$python" -m pip wheel --disable-pip-version-check --no-deps --wheel-dir build/wheel . \
    >build/compile.log 2>&1; then
    rm -rf "$target"
    # Without what pip says about itself.
    grep -iE 'error|tcpcryptd:' build/compile.log | grep -v subprocess | tail -n 5 >&2 || true
    echo "compile: failed, see build/compile.log" >&2
    exit 1
fi
"$python" -m zipfile -e build/wheel/*.whl "$target"
rm -rf build/c build/lib* build/bdist.* build/temp.*
printf '%s' "$wanted" >"$target/.made-from"
