"""`make demo`: two hosts on one machine, curl between them without and with tcpcryptd, and what an eavesdropper sees.

Then somebody stands between them, and is refused.

The hosts are network namespaces; nothing outside of them is touched, and they are gone afterwards.
"""

import os
import sys
import tempfile
from itertools import islice, zip_longest
from pathlib import Path

from scripts.demo_act import PORT, fetch_letter, heading, serve
from scripts.demo_identity import second_act
from scripts.picture import ROW_BYTES, rows, svg
from tcpcryptd.dissect import summary
from tests.e2e.harness import Capture, Network, Segment, pair, wait_until
from tests.e2e.harness.namespace import ROOT

LETTER = b"Dear Alice,\nthe password is swordfish.\nDo not tell anyone.\nYours, Bob\n"
LARGE_BYTES = 20_000_000
SHOWN_BYTES = 128
COLUMN = 38
WORD = "swordfish"
PICTURE = ROOT / "build/demo.svg"
"""docs/demo.svg is one of these."""


def serve_files(network: Network, directory: Path) -> None:
    (directory / "letter").write_bytes(LETTER)
    (directory / "large").write_bytes(bytes(LARGE_BYTES))
    serve(network.server, directory)


def captured_letter(network: Network) -> Capture:
    """Fetches the letter and returns what was on the wire meanwhile."""
    capture = network.client.capture()
    fetch_letter(network.client, network.server)
    capture.stop()
    return capture


def hex_rows(data: bytes) -> list[str]:
    """Hexadecimal and text, eight bytes to a row."""
    return [f"{hexadecimal:<{3 * ROW_BYTES}} {text}" for hexadecimal, text in rows(data)]


def letter_segment(capture: Capture, size: int) -> Segment:
    """The segment that carries the letter: the answer's payload of the letter's length, enciphered or not."""
    from_server = [s for s in capture.segments() if s.source_port == PORT and len(s.payload) >= size]
    return from_server[-1]


def show_side_by_side(plain: Capture, encrypted: Capture) -> None:
    heading("The letter on the wire")
    print(f"{'without tcpcryptd':<{COLUMN}}with tcpcryptd on both hosts")
    columns = [hex_rows(letter_segment(c, len(LETTER)).payload[-SHOWN_BYTES:]) for c in (plain, encrypted)]
    for left, right in zip_longest(*columns, fillvalue=""):
        print(f"{left:<{COLUMN}}{right}")
    heading("How the encrypted connection began")
    for packet in islice(encrypted.packets(), 8):
        print(f"  {summary(packet)}")
    for name, capture in (("without", plain), ("with", encrypted)):
        found = "is" if capture.contains(WORD.encode()) else "is not"
        print(f"\n{name} tcpcryptd, '{WORD}' {found} on the wire", end="")
    print()


def draw(plain: Capture, encrypted: Capture) -> None:
    """Writes the picture of both."""
    before, after = (letter_segment(each, len(LETTER)).payload[-len(LETTER) :] for each in (plain, encrypted))
    if WORD.encode() not in before or WORD.encode() in after:
        raise RuntimeError("the captures are not what the picture says of them")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg(before, after, WORD))
    print(f"\nThe letter on the wire as a picture: {PICTURE.relative_to(ROOT)}")


def show_sessions(network: Network) -> None:
    """The sessions as both hosts see them, while a slow download runs."""
    heading("The session, as each host sees it")
    url = f"http://{network.server.ipv4}:{PORT}/large"
    network.client.namespace.spawn(["curl", "--silent", "--limit-rate", "2M", "--output", "/dev/null", url])
    wait_until(network.client.sessions, "the download is a session")
    for name, host in (("alice", network.client), ("bob", network.server)):
        print(f"{name}$ tcnetstat\n{host.tcnetstat().stdout}")


def first_act(directory: Path) -> None:
    """The letter without and with tcpcryptd."""
    with pair(directory) as network:
        files = directory / "files"
        files.mkdir()
        serve_files(network, files)
        heading("Without tcpcryptd")
        plain = captured_letter(network)
        heading("With tcpcryptd on both hosts (curl and the web server are the same programs)")
        for host in network.hosts():
            host.start_daemon()
        encrypted = captured_letter(network)
        show_side_by_side(plain, encrypted)
        show_sessions(network)
        draw(plain, encrypted)


def main() -> int:
    if os.geteuid() != 0:
        print("demo: network namespaces need root: use `make demo`", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory(prefix="tcpcryptd-demo-") as name:
        Path(name).chmod(0o755)
        first_act(Path(name))
        second_act(Path(name) / "second", LETTER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
