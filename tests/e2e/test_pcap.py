"""A key log and a capture of real connections, read by tcpcrypt-pcap."""

import stat
from pathlib import Path

import pytest

from tcpcryptd.cli import tcpcrypt_pcap
from tests.e2e.harness import MARKER, Host, Network, dialogue, exchange, same_session


@pytest.mark.parametrize("protocol", ["crypt", "eno"])
def test_a_capture_opens_with_the_key_log_alone(
    network: Network, directory: Path, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key_log = directory / "keys"
    daemon = network.client.start_daemon("--protocol", protocol, "--keylog", str(key_log))
    network.server.start_daemon()
    capture = network.client.capture()
    with dialogue(network) as client:
        assert exchange(client, MARKER * 500) == MARKER * 500
        session_id = same_session(network, client)
    with dialogue(network) as client:
        assert exchange(client, MARKER) == MARKER
        resumed = network.client.report()
    assert any(row["resumed"] for row in resumed)
    capture.stop()
    (file,) = network.client.directory.glob("eth0-*.pcap")

    assert "KEYS OF ALL ENCRYPTED CONNECTIONS ARE WRITTEN" in daemon.log()
    assert "warning: tcpcryptd writes the keys" in network.client.tcnetstat().stderr
    assert "warning" not in network.server.tcnetstat().stderr
    status = key_log.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, 0)
    assert [line.split()[4] for line in key_log.read_text().splitlines()[1:]].count(session_id) == 1

    text = MARKER.decode()
    assert tcpcrypt_pcap.main([str(file), "--find", text]) == tcpcrypt_pcap.EXIT_NOT_FOUND
    listed = capsys.readouterr().out
    assert listed.count(f"{protocol}, encrypted") == 2
    assert " plain" not in listed
    assert tcpcrypt_pcap.main([str(file), "--find", text, "--keylog", str(key_log)]) == tcpcrypt_pcap.EXIT_OK
    opened = capsys.readouterr().out
    assert "found in deciphered, connection 1 > " in opened
    assert "found in deciphered, connection 1 < " in opened
    assert "found in deciphered, connection 2 < " in opened
    assert f"key log: session {session_id}" in opened
    assert opened.count("authentic, 0 not") == 4


def test_a_plain_connection_is_called_plain(
    network: Network, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network.client.start_daemon()
    capture = network.client.capture()
    with dialogue(network) as client:
        assert exchange(client, MARKER) == MARKER
    capture.stop()
    (file,) = network.client.directory.glob("eth0-*.pcap")
    assert tcpcrypt_pcap.main([str(file), "--find", MARKER.decode()]) == tcpcrypt_pcap.EXIT_OK
    shown = capsys.readouterr().out
    assert "crypt began, not encrypted" in shown
    assert "found in plain, connection 1 > " in shown
    assert "found in plain, connection 1 < " in shown
    assert "ciphertext" not in shown


def test_a_key_log_that_others_could_own_is_refused(host: Host, directory: Path) -> None:
    target = directory / "keys"
    target.symlink_to(directory / "elsewhere")
    daemon = host.launch_daemon("--keylog", str(target))
    assert daemon.wait() == 1
    assert "key log" in daemon.log()
    assert not (directory / "elsewhere").exists()
