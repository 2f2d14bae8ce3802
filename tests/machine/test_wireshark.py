"""packaging/wireshark/tcpcrypt.lua in tshark, against what `tcpcryptd.pcap` makes of the same capture."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from random import Random

import pytest
from scapy.layers.inet import IP
from scapy.utils import wrpcap

from tcpcryptd.crypto.key_log import CRYPT, ENO
from tests.machine.identities import KEYS
from tests.machine.link import Conditions
from tests.machine.test_key_log import Logged

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "packaging/wireshark/tcpcrypt.lua"
RECORDED = ROOT / "tests/vectors/crypt-option/a_first_full_handshake.pcap"

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


def tshark(file: Path, *arguments: str) -> str:
    """Its output. From 4.4 on it loads no Lua for root: then it is another user's, with what it reads in reach."""
    change = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "HOME=/nonexistent"]
    with tempfile.TemporaryDirectory() as name:
        for path in (SCRIPT, file):
            shutil.copy(path, name)
        subprocess.run(["chmod", "-R", "a+rX", name], check=True)
        command = ["tshark", "-X", f"lua_script:{SCRIPT.name}", "-r", file.name, *arguments]
        command = [*change, *command] if os.geteuid() == 0 else command
        done = subprocess.run(command, cwd=name, capture_output=True, text=True, check=True)
    assert "Lua" not in done.stdout + done.stderr
    return done.stdout


def column(file: Path, name: str, *arguments: str) -> list[str]:
    lines = tshark(file, "-T", "fields", "-e", name, *arguments).splitlines()
    return [value for line in lines for value in line.split(",") if value]


def test_the_handshake_of_the_original_daemon() -> None:
    text = tshark(RECORDED, "-O", "tcpcrypt", "-Y", "tcpcrypt.message")
    assert "Message: INIT1" in text
    assert "Message: INIT2" in text
    assert "Nonce: 7eaff2fd72f586f0e6414fbf73a21b52" in text
    assert column(RECORDED, "tcpcrypt.opcode") == ["0x41", "0x06", "0x07"]
    assert len(column(RECORDED, "tcpcrypt.mac")) == 27


def test_the_post_quantum_key_agreement(tmp_path: Path) -> None:
    run = Logged(ENO)
    run.talk(40_000, 5_000)
    run.talk(40_001, 5_000)
    run.read(tmp_path, "client")
    file = tmp_path / "client.pcap"
    # Offered and answered, and both once more in the session that resumes.
    assert column(file, "tcpcrypt.eno.agreement") == ["0x41"] * 4
    assert [len(value) // 2 for value in column(file, "tcpcrypt.session")] == [6, 6]
    assert [len(value) // 2 for value in column(file, "tcpcrypt.public_key")] == [1216]
    assert [len(value) // 2 for value in column(file, "tcpcrypt.ciphertext")] == [1120]
    assert column(file, "tcpcrypt.malformed") == []


@pytest.mark.parametrize("protocol", [CRYPT, ENO])
def test_proofs_of_identity(tmp_path: Path, protocol: str) -> None:
    run = Logged(protocol, identities=True)
    run.talk(40_000, 5_000)
    run.read(tmp_path, "client")
    file = tmp_path / "client.pcap"
    first, second = column(file, "tcpcrypt.extensions")
    # An item of type 1, and in it a key with the signature by it.
    assert first[:10] == second[:10] == "0001006101"
    assert (first[-64:], second[-64:]) == (KEYS["client"].hex(), KEYS["server"].hex())
    assert column(file, "tcpcrypt.malformed") == []


@pytest.mark.parametrize("passes", [(), ("-2",)], ids=["one pass", "two passes"])
def test_frames_that_come_in_any_order(tmp_path: Path, passes: tuple[str, ...]) -> None:
    run = Logged(ENO, conditions=Conditions(reordering=0.05))
    run.talk(40_000)
    run.talk(40_001)
    table, _ = run.read(tmp_path, "client")
    file = tmp_path / "client.pcap"
    sides = [side for connection in table.connections for side in connection.sides]
    assert len(column(file, "tcpcrypt.frame.clen", *passes)) == sum(side.frames.frames for side in sides)
    generations = {int(value) for value in column(file, "tcpcrypt.frame.generation", *passes)}
    assert generations == set(range(max(side.frames.generation for side in sides) + 1))
    assert column(file, "tcpcrypt.malformed", *passes) == []
    assert {"Init1", "Init2"} <= set(column(file, "tcpcrypt.message", *passes))


def test_damaged_packets_raise_nothing(tmp_path: Path) -> None:
    damaged, random = [], Random(3)
    for protocol in (CRYPT, ENO):
        run = Logged(protocol)
        run.talk(40_000, 5_000)
        handshake, rest = run.world.link.log[:4], run.world.link.log[4:]
        damaged += [IP(crossing.packet) for crossing in handshake]
        for crossing in rest:
            for _ in range(4):
                packet = bytearray(crossing.packet)
                for _ in range(random.choice((1, 1, 3))):
                    packet[random.randrange(32, min(len(packet), 120))] = random.randrange(256)
                damaged.append(IP(bytes(packet)))
    wrpcap(str(tmp_path / "damaged.pcap"), damaged)
    assert "tcpcrypt" in tshark(tmp_path / "damaged.pcap", "-O", "tcpcrypt")
