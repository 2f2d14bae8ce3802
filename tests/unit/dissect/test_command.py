"""`python -m tcpcryptd.dissect`."""

import subprocess
import sys
from pathlib import Path

import pytest
from scapy.layers.l2 import ARP, Ether
from scapy.utils import PcapNgWriter, wrpcap

from tcpcryptd.dissect import (
    summary,
)
from tcpcryptd.dissect.__main__ import main
from tests.unit.dissect.samples import (
    CAPTURES,
    HANDSHAKE,
    packet,
    packets,
)


@pytest.mark.parametrize("file", CAPTURES, ids=lambda file: file.stem)
def test_command_prints_a_line_per_packet(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[11:] for line in lines] == [summary(entry) for entry in packets(file)]
    assert lines[0].startswith("  0.000000 10.77.0.1:")


def test_command_reads_pcapng_and_what_is_not_tcp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "capture.pcapng")
    with PcapNgWriter(file) as writer:
        writer.write([Ether() / packet(), Ether() / ARP()])
    assert main([file]) == 0
    assert [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()] == [
        "10.77.0.1:40001 > 10.77.0.2:7777 SYN seq 7 len 0",
        "not TCP",
    ]


def test_command_reads_a_pipe_and_shows_a_file_up_to_where_it_is_cut() -> None:
    whole = HANDSHAKE.read_bytes()
    command = [sys.executable, "-m", "tcpcryptd.dissect", "-"]
    run = subprocess.run(command, input=whole[:-10], capture_output=True, check=False, timeout=60)
    assert run.returncode == 0
    lines = run.stdout.decode().splitlines()
    assert len(lines) == len(packets(HANDSHAKE))
    assert lines[-1].endswith("10.77.0.1 > 10.77.0.2 malformed: the capture ends in the header")
    assert not any("malformed" in line for line in lines[:-1])


@pytest.mark.parametrize("content", [b"", b"no capture at all", b"\xd4\xc3\xb2\xa1", b"\n\r\r\n" + bytes(3), None])
def test_command_refuses_what_is_no_capture(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "capture"
    if content is not None:
        file.write_bytes(content)
    assert main([str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"dissect: {file}: ")
    assert len(captured.err.splitlines()) == 1


def test_command_survives_a_reader_that_leaves(tmp_path: Path) -> None:
    file = tmp_path / "long.pcap"
    wrpcap(str(file), [Ether() / packet()] * 3000)
    command = [sys.executable, "-m", "tcpcryptd.dissect", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_command_wants_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2
    assert "FILE" in capsys.readouterr().err
