import re
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.utils import wrpcap

from tcpcryptd.cli.tcpcrypt_pcap import EXIT_FAILURE, EXIT_NOT_FOUND, EXIT_OK, main
from tcpcryptd.crypto.key_log import CRYPT, KeyLogEntry
from tcpcryptd.dissect import read_capture
from tcpcryptd.pcap import MAX_MATCHES
from tcpcryptd.wire.segment import SYN
from tests.unit.crypto.vectors import PATH, load_connections

FIRST, CACHED = (PATH.parent / name for name in ("a_first_full_handshake.pcap", "b_second_cached_nextk.pcap"))
PLAIN = PATH.parent / "c_fallback_plain_server.pcap"
SWITCHED = PATH.parent / "f_cmode_always_role_switch.pcap"


@pytest.fixture
def key_log(tmp_path: Path) -> Path:
    """What the original daemon would have logged of its two recorded connections."""
    lines = []
    for file, recorded in zip((FIRST, CACHED), load_connections(), strict=True):
        segments = [captured.dissection.segment for captured in read_capture(str(file))]
        opener, answerer = [each.sequence for each in segments if each is not None and each.flags & SYN]
        session_id, master = bytes.fromhex(recorded["sid"]), bytes.fromhex(recorded["mk"])
        entry = KeyLogEntry(CRYPT, opener, answerer, 0, session_id, bytes.fromhex("00010001"), "client", master)
        lines.append(entry.line())
    path = tmp_path / "keys"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(("file", "index"), [(FIRST, 0), (CACHED, 1)])
def test_recordings_of_the_original_daemon_are_deciphered(
    file: Path, index: int, key_log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = load_connections()[index]
    assert main([str(file), "--keylog", str(key_log), "--text", "--find", "hello tcpcrypt"]) == EXIT_OK
    shown = capsys.readouterr().out
    assert f"session {recorded['sid']}" in shown
    assert "found in deciphered, connection 1 < " in shown
    counts = re.findall(r"(\d+) segments authentic, (\d+) not", shown)
    assert [int(count) for count, _ in counts] == [
        sum(packet["dir"] == way for packet in recorded["packets"]) for way in ("c2s", "s2c")
    ]
    assert [failed for _, failed in counts] == ["0", "0"]
    sent = sum(len(packet["payload_plain"]) // 2 for packet in recorded["packets"] if packet["dir"] == "c2s")
    assert f"> {sent} bytes deciphered" in shown
    assert "b'GET /index.html HTTP/1.0" in shown


def test_without_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(FIRST), "--text", "--find", "hello"]) == EXIT_NOT_FOUND
    shown = capsys.readouterr().out
    assert shown.startswith("1  10.77.0.1:40001 > 10.77.0.2:7777  crypt, encrypted\n")
    assert "> SYN; CRYPT HELLO\n" in shown
    assert "< ACK; CRYPT INIT2; suite AES128-CTR-SEQIV/HMAC-SHA1" in shown
    assert "300 handshake, 2642 ciphertext" in shown
    assert "deciphered" not in shown


def test_a_connection_that_fell_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(PLAIN), "--find", "PLAIN-FALLBACK"]) == EXIT_OK
    shown = capsys.readouterr().out
    assert "crypt began, not encrypted" in shown
    assert "found in plain, connection 1 > packet 4 at 0.000148 byte 0\n" in shown
    assert "found in plain, connection 1 < packet 6 at 0.000302 byte 5\n" in shown
    assert "ciphertext" not in shown


def test_switched_roles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(SWITCHED)]) == EXIT_OK
    shown = capsys.readouterr().out
    assert "> ACK; CRYPT PKCONF" in shown
    assert "< ACK; CRYPT INIT1" in shown


def test_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad"
    bad.write_text("crypt nonsense\n")
    assert main([str(tmp_path / "none")]) == EXIT_FAILURE
    assert main([str(bad)]) == EXIT_FAILURE
    assert main([str(FIRST), "--keylog", str(tmp_path / "none")]) == EXIT_FAILURE
    assert main([str(FIRST), "--keylog", str(bad)]) == EXIT_FAILURE
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["tcpcrypt-pcap"] * 4
    assert "line 1" in lines[3]


def test_a_file_that_is_cut_or_damaged_is_read_up_to_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut, damaged = tmp_path / "cut", tmp_path / "damaged"
    cut.write_bytes(FIRST.read_bytes()[:-5])
    damaged.write_bytes(FIRST.read_bytes() + b"\xff" * 16)
    for file, code, said in (
        (cut, EXIT_OK, "ends within a packet"),
        (damaged, EXIT_FAILURE, "damaged: a packet of 4294967295 bytes"),
    ):
        assert main([str(file)]) == code
        shown = capsys.readouterr()
        assert "300 handshake, 2642 ciphertext" in shown.out
        assert shown.err == f"tcpcrypt-pcap: {file}: {said}\n"


def test_an_empty_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(FIRST), "--find", ""])
    assert caught.value.code == 2
    assert "invalid text value" in capsys.readouterr().err


def test_where_the_list_of_places_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "many"
    opener = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=40000, dport=80, seq=100, flags="PA")
    wrpcap(str(file), [opener / (b"a" * (MAX_MATCHES + 5))])
    assert main([str(file), "--find", "a"]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("found in unknown, connection 1 > packet 1 ") for line in lines) == MAX_MATCHES
    assert lines[-1] == f"not listed: more from unknown, connection 1 > packet 1 at 0.000000 byte {MAX_MATCHES} on"
