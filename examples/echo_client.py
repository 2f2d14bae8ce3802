"""Sends a line to the echo server, once it has proved who it is.

python -m examples.echo_client --secret secret.bin 192.0.2.1 7000 "hello"
"""

import argparse
import socket

from examples.arguments import add_credentials, credentials
from tcpcryptd.authenticate import AuthenticationFailed, Role, authenticate
from tcpcryptd.sockopt import NotEncrypted, fingerprint

TIMEOUT = 10.0


def main() -> None:
    """Connects, authenticates, sends, prints what comes back."""
    parser = argparse.ArgumentParser(description="echo client with authentication of the tcpcrypt session")
    add_credentials(parser)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("text")
    arguments = parser.parse_args()
    with socket.create_connection((arguments.host, arguments.port), TIMEOUT) as sock:
        try:
            known = authenticate(sock, credentials(arguments), Role.CLIENT)
        except (NotEncrypted, AuthenticationFailed) as error:
            raise SystemExit(str(error)) from error
        print(f"authenticated, session {fingerprint(known.session_id)}")
        sock.sendall(arguments.text.encode())
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as answer:
            print(answer.read().decode())


if __name__ == "__main__":
    main()
