"""Known answers for MLKEM768-X25519-HPKE: what checks them, and the package against each of them."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from scripts import make_crypt_vectors
from tcpcryptd.crypt.handshake.messages import Init1, Init2
from tcpcryptd.crypto import key_schedule
from tcpcryptd.crypto.mlkem768_x25519 import KemKey
from tcpcryptd.crypto.mlkem768_x25519_hpke import MlKemHpkeKey
from tcpcryptd.crypto.suites import MLKEM768_X25519_HPKE

DIRECTORY = Path(__file__).parents[2] / "vectors/crypt-post-quantum"
EXCHANGES: list[dict[str, str]] = json.loads((DIRECTORY / "vectors.json").read_text())["exchanges"]

each = pytest.mark.parametrize("exchange", EXCHANGES, ids=range(len(EXCHANGES)))


def load_verifier() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_crypt_vectors", DIRECTORY / "verify.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VERIFIER = load_verifier()


def test_the_verifier_stands_alone_and_agrees(tmp_path: Path) -> None:
    alone = tmp_path / "verify.py"
    alone.write_text((DIRECTORY / "verify.py").read_text())
    command = [sys.executable, "-I", str(alone), str(DIRECTORY / "vectors.json")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "2 key exchanges are right\n", "")
    assert "import tcpcryptd" not in alone.read_text()
    assert "from tcpcryptd" not in alone.read_text()


def test_the_verifier_sees_every_change() -> None:
    for exchange in EXCHANGES:
        VERIFIER.check_exchange(exchange)
        for name, value in exchange.items():
            # Of the private keys, X25519 clamps outer bits, and ML-KEM uses its second half to reject only.
            other = f"{value[:3]}{int(value[3], 16) ^ 1:x}{value[4:]}"
            with pytest.raises(VERIFIER.Mismatch):
                VERIFIER.check_exchange(exchange | {name: other})


def test_the_verifier_agrees_with_what_the_script_writes_now() -> None:
    document = make_crypt_vectors.document()
    assert [exchange.keys() for exchange in document["exchanges"]] == [exchange.keys() for exchange in EXCHANGES]
    for exchange in document["exchanges"]:
        VERIFIER.check_exchange(exchange)


@each
def test_the_package(exchange: dict[str, str]) -> None:
    of = {name: bytes.fromhex(value) for name, value in exchange.items()}
    halves = (
        MLKEM768PrivateKey.from_seed_bytes(of["mlkem_seed"]),
        X25519PrivateKey.from_private_bytes(of["x25519_private"]),
    )
    key = KemKey(*halves)
    assert key.public_bytes == of["k_c"]
    assert key.decapsulate(of["enc"][:1120]) == of["shared_secret"]
    assert MlKemHpkeKey(key).decapsulate(of["enc"]) == of["n_s"]
    init1 = Init1.decode(of["init1"])
    assert init1 == Init1(of["symmetric_specs"], of["n_c"], MLKEM768_X25519_HPKE.spec, of["k_c"])
    assert Init2.decode(of["init2"]) == Init2(of["chosen_symmetric"], of["enc"])
    secret = key_schedule.initial_secret(
        server_nonce=of["n_s"],
        public_key=of["k_c"],
        public_specs=of["pkconf_specs"],
        symmetric_specs=of["symmetric_specs"],
        chosen_symmetric=of["chosen_symmetric"],
        client_nonce=of["n_c"],
    )
    assert secret == of["ss_0"]
    assert key_schedule.session_id(secret) == of["session_id"]
    assert key_schedule.master_key_and_next_secret(secret) == (of["mk_0"], of["ss_1"])
    keys = key_schedule.traffic_keys(of["mk_0"])
    assert (keys.client_encryption, keys.client_mac) == (of["c_enc"], of["c_mac"])
    assert (keys.server_encryption, keys.server_mac) == (of["s_enc"], of["s_mac"])
