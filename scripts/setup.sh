#!/bin/sh
# Sets up what `make run` and `make test` need: system packages (Debian and Ubuntu) and the virtual environment .venv.
# Quick when nothing is missing; safe to repeat.
set -eu
cd "$(dirname "$0")/.."

venv=.venv
# Compiling NetfilterQueue and python-prctl; running the daemon.
packages="build-essential libnetfilter-queue-dev libcap-dev python3-dev python3-venv ca-certificates
iptables iproute2"
# Running the tests, the demo and the benchmark.
[ "${TCPCRYPTD_SETUP:-}" = run ] || packages="$packages
tcpdump iperf3 netcat-openbsd curl conntrack procps ethtool nftables tshark groff-base zsh"
# Booting the Debian package's systemd. What changes roots is in a package of its own on Debian after 13.
[ "${TCPCRYPTD_SETUP:-}" != packages ] || packages="$packages systemd man-db"
# Trying other distributions.
[ "${TCPCRYPTD_SETUP:-}" != distributions ] || packages="$packages debootstrap"
case ${TCPCRYPTD_SETUP:-} in
packages | distributions) command -v pivot_root >/dev/null || packages="$packages util-linux-extra" ;;
esac
# Running other kernels in virtual machines, or compiling them for user mode.
[ "${TCPCRYPTD_SETUP:-}" != kernels ] || packages="$packages qemu-system-x86 busybox-static kmod flex bison bc"

die() {
    echo "setup: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "root is needed for: $* (become root, or install sudo)"
    fi
}

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_packages() {
    if ! command -v dpkg-query >/dev/null; then
        echo "setup: not Debian or Ubuntu; these have to be there under your system's names:" $packages >&2
        return
    fi
    missing=
    for package in $packages; do
        installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    echo "setup: installing$missing"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

make_venv() {
    # The system's own first: it is what root runs anyway, and it is built with profile-guided optimisation, which
    # interpreters that were compiled by hand mostly are not. That is worth a fifth of the daemon's time.
    python=python3
    is_new_enough /usr/bin/python3 && python=/usr/bin/python3
    is_new_enough "$python" || die "Python 3.11 or newer is needed, this is $("$python" --version)"
    # The stamp holds what the environment was made from: a changed pyproject.toml or another Python makes it again.
    wanted=$(cat pyproject.toml && echo "$python" && "$python" --version)
    stamp=$venv/.made-from
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return
    echo "setup: making $venv"
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
    printf '%s' "$wanted" >"$stamp"
}

install_packages
make_venv
