"""What the acts of the demo have in common: a letter on a web server, and somebody who fetches it."""

import subprocess
import sys
from pathlib import Path

from tests.e2e.harness import Host

PORT = 8080


def heading(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}")


def serve(host: Host, directory: Path) -> None:
    """A web server with the files of a directory."""
    host.namespace.spawn([sys.executable, "-m", "http.server", "--directory", str(directory), str(PORT)])
    host.wait_listening(PORT)


def fetch_letter(client: Host, server: Host, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Fetches the letter with curl, as alice, and prints what comes of it."""
    command = ["curl", "--silent", "--show-error", "--fail", f"http://{server.ipv4}:{PORT}/letter"]
    print(f"alice$ {' '.join(command)}")
    done = client.run(command, check=check)
    print(done.stdout + done.stderr, end="")
    return done
