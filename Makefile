# Everything a newcomer needs: each target does its own set-up (system packages through apt-get, a virtual
# environment in .venv). As root no sudo is needed; otherwise sudo is asked for the steps that need it.

VENV := .venv
PYTHON := $(VENV)/bin/python
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Options for the command: make run ARGS="--verbose --port 80", make bench ARGS="--rounds 3 --only stunnel"
ARGS ?=
SOURCES := tcpcryptd tests bench scripts examples fuzz setup.py
COMPILED := $(abspath build/compiled)

.DEFAULT_GOAL := help
.PHONY: help setup compiled run demo test unit unit-second machine-compiled e2e coverage lint format types bench bench-paths bench-peers dist deb man test-packages test-distributions test-kernels clean

help:
	@echo "make run      encrypt this host's TCP connections (Ctrl-C stops; ARGS=... are tcpcryptd's options)"
	@echo "make demo     see it work on one machine: two network namespaces, a daemon in each"
	@echo "make setup    system packages and the virtual environment in .venv, as other targets do by themselves"
	@echo "make test     all tests (unit, machine, end to end)"
	@echo "make unit     the tests that need no root"
	@echo "make unit-second  the unit tests under another Python, where one is at hand"
	@echo "make machine-compiled  those of two simulated hosts, with the compiled packet path"
	@echo "make e2e      the tests that run daemons in network namespaces (root)"
	@echo "make coverage branch coverage of the tests that need no root"
	@echo "make lint     ruff and mypy"
	@echo "make format   mend what ruff can"
	@echo "make bench    speed, CPU time and memory against plain TCP and other tunnels (root; ARGS=--quick, --check, '--against REVISION', --help)"
	@echo "make bench-paths  over long, slow and lossy paths (root; half an hour; ARGS=--only, --control, --seconds)"
	@echo "make man      man pages, completion and a sample configuration file, in build/manual"
	@echo "make dist     wheel and source archive, in dist/"
	@echo "make deb      Debian package, in dist/"
	@echo "make test-packages  installs the Debian package under a systemd of its own and tries it (root; a minute)"
	@echo "make test-distributions  all of this in chroots of Debian 12, 13 and sid (root; hours; SUITES, TARGETS, E2E, UNIT)"
	@echo "make test-kernels  chosen end-to-end tests on Debian's kernels, in virtual machines or user mode (root; hours; KERNELS, VARIANTS, USER_MODE, ARGS)"
	@echo "make bench-peers  install the other tunnels: stunnel, OpenSSH, wireguard-go"

setup:
	@scripts/setup.sh

compiled: setup
	@scripts/compile.sh

# Works without the compiled packet path as well, only slower.
run: export TCPCRYPTD_SETUP := run
run: setup
	scripts/compile.sh || echo "make: goes on interpreted; each packet takes about twice the time" >&2
	$(SUDO) env PYTHONPATH=$(COMPILED) $(abspath $(VENV))/bin/tcpcryptd $(ARGS)

demo: setup
	$(SUDO) $(abspath $(PYTHON)) -m scripts.demo

# Those of simulated hosts and those of the compiled packet path side by side: neither looks at a clock.
test:
	$(MAKE) --jobs=2 --output-sync=target unit machine-compiled
	$(MAKE) e2e

unit: setup
	$(PYTHON) -m pytest -q -m "not e2e" $(ARGS)

unit-second: setup
	scripts/second_python.sh

# What mypyc makes of the packet path is another program: the same tests, but for those that reach into it.
machine-compiled: compiled
	$(PYTHON) -P -m pytest -q -p no:cacheprovider -o pythonpath="$(COMPILED) ." -m "not interpreted" tests/machine

e2e: compiled
	$(SUDO) env TCPCRYPTD_PACKAGE=$(COMPILED) $(abspath $(PYTHON)) -m pytest -q -p no:cacheprovider -m e2e $(ARGS)

coverage: setup
	$(PYTHON) -m pytest -q -m "not e2e" --cov --cov-report=term

lint: setup
	$(PYTHON) -m ruff check $(SOURCES)
	$(PYTHON) -m ruff format --check $(SOURCES)
	$(PYTHON) -m mypy

format: setup
	$(PYTHON) -m ruff check --fix $(SOURCES)
	$(PYTHON) -m ruff format $(SOURCES)

bench: compiled
	$(SUDO) env TCPCRYPTD_PACKAGE=$(COMPILED) $(abspath $(PYTHON)) -m bench $(ARGS)

bench-paths: compiled
	$(SUDO) env TCPCRYPTD_PACKAGE=$(COMPILED) $(abspath $(PYTHON)) -m bench.paths $(ARGS)

bench-peers:
	$(SUDO) bench/install_peers.sh

man: setup
	$(PYTHON) -m scripts.manual build/manual

dist: setup
	rm -rf build/lib
	TCPCRYPTD_COMPILE=required $(PYTHON) -m build --outdir dist .

deb: compiled
	packaging/debian/build.sh

test-packages: export TCPCRYPTD_SETUP := packages
test-packages: deb
	$(SUDO) env TCPCRYPTD_TEST_PACKAGES=1 $(abspath $(PYTHON)) -m pytest -q -p no:cacheprovider tests/packages

# SUITES="sid" TARGETS="demo lint" E2E=tests/e2e/test_transfer.py (docs/distributions.md)
test-distributions: export TCPCRYPTD_SETUP := distributions
test-distributions: setup
	$(SUDO) env SUITES="$(SUITES)" TARGETS="$(TARGETS)" $(if $(E2E),E2E="$(E2E)") UNIT="$(UNIT)" nice $(abspath $(PYTHON)) -m tests.distributions $(ARGS)

# One virtual machine after the other, emulated: KERNELS="6.1 7.2" VARIANTS=nft USER_MODE=1 ARGS=tests/e2e/test_transfer.py (docs/kernels.md)
test-kernels: export TCPCRYPTD_SETUP := kernels
test-kernels: compiled
	$(SUDO) env KERNELS="$(KERNELS)" VARIANTS="$(VARIANTS)" USER_MODE="$(USER_MODE)" nice $(abspath $(PYTHON)) -m tests.kernels $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
