#!/bin/sh
# Installs, prints or removes the firewall rules that divert TCP to tcpcryptd; --help lists the options.
set -eu
checkout=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
python=${PYTHON:-$checkout/.venv/bin/python3}
# The package's modules are for the system's own Python.
[ -x "$python" ] || python=/usr/bin/python3
[ -x "$python" ] || python=python3
export TCPCRYPTD_PROGRAM="${0##*/}"
export PYTHONPATH="$checkout${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m tcpcryptd.netio.firewall.command "$@"
