#!/bin/sh
# What Python's cryptography has of HPKE with MLKEM768-X25519 (X-Wing) where it has no ML-KEM.
#
# Expected by most: a release whose HPKE lists KEM.MLKEM768_X25519, with a wheel built with OpenSSL 4.0, can use it; where it
# cannot, making the suite fails. So "if hasattr" or "try: Suite(...)" would tell.
# Seen with cryptography 47.0.0: the name is there and the suite is made, but there are no keys to use with it: making one of
# ML-KEM raises UnsupportedAlgorithm. From 48.0.0 on the wheels have it. Only making a key tells.
#
# Needs python3 with venv; installs the two releases in a temporary directory. Exits with 1 when the behaviour has changed.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT INT TERM
cat >"$directory/look.py" <<'END'
import sys

import cryptography
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.backends.openssl.backend import backend
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
try:
    MLKEM768PrivateKey.generate()
    found = "makes keys"
except UnsupportedAlgorithm as error:
    found = f"UnsupportedAlgorithm: {error}"
print(f"cryptography {cryptography.__version__}, {backend.openssl_version_text()}: the suite is made; {found}")
expected = sys.argv[1] == "yes"
if (found == "makes keys") is not expected:
    sys.exit(1)
END
for release in "47.0.0 no" "48.0.0 yes"; do
    # shellcheck disable=SC2086 # two words
    set -- $release
    python3 -m venv "$directory/$1"
    "$directory/$1/bin/python" -m pip install -q --disable-pip-version-check "cryptography==$1" "cffi==2.1.1" \
        "pycparser==3.12" || exit 77
    "$directory/$1/bin/python" "$directory/look.py" "$2"
done
