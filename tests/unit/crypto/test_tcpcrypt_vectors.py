"""Our own known answers for tcpcrypt: what made them, what checks them, and the package against each of them."""

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from scripts import make_tcpcrypt_vectors
from tcpcryptd.crypto import ecdhe
from tcpcryptd.crypto import tcpcrypt_schedule as schedule
from tcpcryptd.crypto.frame_aead import FRAME_AEADS, FrameAead
from tcpcryptd.crypto.hybrid import MLKEM768_X25519, HybridPair
from tcpcryptd.crypto.key_scheme import KeyPair
from tcpcryptd.crypto.mlkem768_x25519 import KemKey
from tcpcryptd.eno.config import SCHEMES
from tests.vectors.tcpcrypt import verify

CHAINS: list[dict[str, Any]] = json.loads(verify.PATH.read_text())["chains"]

each_chain = pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain["name"])


def connections(chain: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Each connection with its session secret."""
    for connection in chain["connections"]:
        yield connection, bytes.fromhex(chain["ss"][connection["i"]])


def aead_of(chain: dict[str, Any]) -> FrameAead:
    return next(aead for aead in FRAME_AEADS if aead.identifier == chain["aead"])


def key_pair(tep: int, private: bytes) -> KeyPair:
    if tep == ecdhe.X25519.tep:
        return ecdhe.MontgomeryPrivate(X25519PrivateKey.from_private_bytes(private))
    if tep == ecdhe.X448.tep:
        return ecdhe.MontgomeryPrivate(X448PrivateKey.from_private_bytes(private))
    if tep == MLKEM768_X25519.tep:
        mlkem, scalar = MLKEM768PrivateKey.from_seed_bytes(private[:64]), private[64:]
        return HybridPair(KemKey(mlkem, X25519PrivateKey.from_private_bytes(scalar)))
    curve = ec.SECP256R1() if tep == ecdhe.P256.tep else ec.SECP521R1()
    return ecdhe.NistPrivate(ec.derive_private_key(int.from_bytes(private, "big"), curve))


def test_the_file_is_what_the_script_writes() -> None:
    assert verify.PATH.read_text() == make_tcpcrypt_vectors.document()


def test_every_tep_and_aead_is_there() -> None:
    assert {(chain["tep"], chain.get("agreement", 0), chain["aead"]) for chain in CHAINS} == {
        (scheme.tep, scheme.agreement, aead.identifier) for scheme in SCHEMES for aead in FRAME_AEADS
    }


def test_the_verifier_stands_alone_and_agrees(tmp_path: Path) -> None:
    alone = tmp_path / "verify.py"
    alone.write_text(Path(verify.__file__).read_text())
    command = [sys.executable, "-I", str(alone), str(verify.PATH)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "15 key exchanges, 60 connections and 720 frames are right\n"


def test_the_verifier_shares_no_code() -> None:
    assert "import tcpcryptd" not in Path(verify.__file__).read_text()
    assert "from tcpcryptd" not in Path(verify.__file__).read_text()


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value that is no container, with the way to it."""
    if isinstance(value, dict | list):
        items: Any = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value ^ 1
    if value is None:
        return 1
    if value in ("A", "B"):
        return "B" if value == "A" else "A"
    # A change in the last digit would leave X25519's clamped private keys as they are.
    middle = len(value) // 2
    return value[:middle] + f"{int(value[middle], 16) ^ 1:x}" + value[middle + 1 :] if value else "00"


@pytest.mark.parametrize("index", range(3))
def test_the_verifier_sees_every_change(index: int) -> None:
    """One field at a time, of a chain whose AEAD has the shortest keys and of two whose key agreement is another."""
    chain = copy.deepcopy([CHAINS[0], CHAINS[8], CHAINS[12]][index])
    verify.check_chain(chain)
    unseen = []
    for path, value in leaves(chain):
        if path == ("name",):
            continue
        holder: Any = chain
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = changed(value)
        try:
            verify.check_chain(chain)
        except Exception:  # noqa: S112 - any failure will do
            continue
        else:
            unseen.append(path)
        finally:
            holder[path[-1]] = value
    assert unseen == []


@each_chain
def test_key_exchange(chain: dict[str, Any]) -> None:
    first = chain["connections"][0]
    private_a, private_b = (bytes.fromhex(first[name]) for name in ("private_a", "private_b"))
    a = key_pair(chain["tep"], private_a)
    assert a.public.hex() == first["pub_a"]
    assert a.exchange(bytes.fromhex(first["pub_b"])).hex() == first["es"]
    if "agreement" not in chain:
        b = key_pair(chain["tep"], private_b)
        assert b.public.hex() == first["pub_b"]
        assert b.exchange(a.public).hex() == first["es"]
    inputs = [bytes.fromhex(first[name]) for name in ("n_a", "eno_transcript", "init1", "init2", "es")]
    assert schedule.prk(*inputs).hex() == first["prk"] == chain["ss"][0]


@each_chain
def test_session_secrets(chain: dict[str, Any]) -> None:
    secrets = [bytes.fromhex(secret) for secret in chain["ss"]]
    assert [schedule.next_secret(secret) for secret in secrets[:-1]] == secrets[1:]
    assert [schedule.resumption_identifier(secret).hex() for secret in secrets] == chain["resume"]


@each_chain
def test_session_ids_and_keys(chain: dict[str, Any]) -> None:
    for connection, secret in connections(chain):
        nonce = bytes.fromhex(connection["sn"])
        assert schedule.session_id(connection["tep_byte"], secret, nonce).hex() == connection["session_id"]
        masters = [schedule.first_master_key(secret, nonce)]
        masters.append(schedule.next_master_key(masters[0]))
        for master, generation in zip(masters, connection["generations"], strict=True):
            k_ab, k_ba = (schedule.traffic_key(master, aead_of(chain), direction) for direction in (0, 1))
            assert generation == {"mk": master.hex(), "k_ab": k_ab.hex(), "k_ba": k_ba.hex()}


@each_chain
def test_frames(chain: dict[str, Any]) -> None:
    for connection in chain["connections"]:
        for frame in connection["frames"] + connection["distant_frames"]:
            own = "k_ab" if (frame["sender"] == "A") != connection["swapped"] else "k_ba"
            traffic_key = bytes.fromhex(connection["generations"][frame["generation"]][own])
            protection = aead_of(chain).protection(traffic_key)
            wire, plaintext = bytes.fromhex(frame["frame"]), bytes.fromhex(frame["plaintext"])
            header, ciphertext = wire[:3], wire[3:]
            assert protection.seal(frame["offset"], header, plaintext) == ciphertext
            assert protection.open(frame["offset"], header, ciphertext) == plaintext
            assert plaintext.endswith(bytes.fromhex(frame["data"]))
