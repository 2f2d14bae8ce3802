"""Tests of what is installed. They take a minute and the network, so they are tried by `make test-packages` alone."""

import os

collect_ignore_glob = [] if os.environ.get("TCPCRYPTD_TEST_PACKAGES") else ["test_*.py"]
