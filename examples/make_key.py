"""Makes an Ed25519 key for the examples, and prints its public key.

python -m examples.make_key server.key
"""

import os
import sys

from tcpcryptd.authenticate import generate_private_key, public_key


def main() -> None:
    """Writes a file that only its owner can read, and that must not exist yet."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m examples.make_key FILE")
    private_key = generate_private_key()
    with os.fdopen(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private_key)
    print(public_key(private_key).hex())


if __name__ == "__main__":
    main()
