"""Write tests/vectors/crypt-post-quantum/vectors.json: known answers for MLKEM768-X25519-HPKE.

Run it from the root of the repository: python -m scripts.make_crypt_vectors
The format is in the README.md beside the file, which verify.py there checks without any code of this package. Each run
writes other values, since the library chooses ML-KEM's randomness itself.
"""

import hmac
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tcpcryptd.crypt.handshake.messages import Init1, Init2
from tcpcryptd.crypto import key_schedule
from tcpcryptd.crypto.mlkem768_x25519 import CIPHERTEXT_LENGTH, KemKey
from tcpcryptd.crypto.mlkem768_x25519_hpke import MlKemHpkeKey
from tcpcryptd.crypto.suites import (
    AES128_CTR_SEQIV_HMAC_SHA1,
    AES_256_GCM_SIV,
    AES_SIV_CMAC_256,
    MLKEM768_X25519_HPKE,
    RSA_2048,
    X25519_HPKE,
    SymmetricSuite,
)

PATH: Final = Path(__file__).parents[1] / "tests/vectors/crypt-post-quantum/vectors.json"

_SUITE_ID: Final = b"HPKE" + bytes.fromhex("647a00010001")
_INFO: Final = b"tcpcryptd CRYPT MLKEM768-X25519-HPKE 1"
_PKCONF: Final = RSA_2048.spec + MLKEM768_X25519_HPKE.spec + X25519_HPKE.spec


def _extract(salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + _SUITE_ID + label + material, "sha256")


def _expand(secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labeled = length.to_bytes(2, "big") + b"HPKE-v1" + _SUITE_ID + label + info + b"\x01"
    return hmac.digest(secret, labeled, "sha256")[:length]


def _kem(seed: bytes, scalar: bytes, ciphertext: bytes) -> dict[str, bytes]:
    mlkem, x25519 = MLKEM768PrivateKey.from_seed_bytes(seed), X25519PrivateKey.from_private_bytes(scalar)
    return {
        "ss_m": mlkem.decapsulate(ciphertext[:1088]),
        "ss_x": x25519.exchange(X25519PublicKey.from_public_bytes(ciphertext[1088:])),
        "shared_secret": KemKey(mlkem, x25519).decapsulate(ciphertext),
    }


def _hpke(shared_secret: bytes) -> dict[str, bytes]:
    psk_id_hash, info_hash = _extract(b"", b"psk_id_hash", b""), _extract(b"", b"info_hash", _INFO)
    context = b"\x00" + psk_id_hash + info_hash
    secret = _extract(shared_secret, b"secret", b"")
    return {
        "info": _INFO,
        "psk_id_hash": psk_id_hash,
        "info_hash": info_hash,
        "key_schedule_context": context,
        "secret": secret,
        "key": _expand(secret, b"key", context, 16),
        "base_nonce": _expand(secret, b"base_nonce", context, 12),
    }


def _keys(server_nonce: bytes, init1: Init1, chosen: SymmetricSuite) -> dict[str, bytes]:
    secret = key_schedule.initial_secret(
        server_nonce=server_nonce,
        public_key=init1.public_key,
        public_specs=_PKCONF,
        symmetric_specs=init1.symmetric_specs,
        chosen_symmetric=chosen.spec,
        client_nonce=init1.nonce,
    )
    master, following = key_schedule.master_key_and_next_secret(secret)
    traffic = key_schedule.traffic_keys(master)
    return {
        "ss_0": secret,
        "session_id": key_schedule.session_id(secret),
        "mk_0": master,
        "ss_1": following,
        "session_id_1": key_schedule.session_id(following),
        "c_enc": traffic.client_encryption,
        "c_mac": traffic.client_mac,
        "s_enc": traffic.server_encryption,
        "s_mac": traffic.server_mac,
    }


def exchange(offered: Sequence[SymmetricSuite], chosen: SymmetricSuite) -> dict[str, str]:
    """One key exchange with every value in it, hexadecimal."""
    seed, scalar, client_nonce, server_nonce = (os.urandom(size) for size in (64, 32, 16, 16))
    key = MlKemHpkeKey(KemKey(MLKEM768PrivateKey.from_seed_bytes(seed), X25519PrivateKey.from_private_bytes(scalar)))
    specs = b"".join(suite.offer for suite in offered)
    init1 = Init1(specs, client_nonce, MLKEM768_X25519_HPKE.spec, key.public_bytes)
    enc = MLKEM768_X25519_HPKE.agreement.encapsulate(key.public_bytes, server_nonce)
    kem = _kem(seed, scalar, enc[:CIPHERTEXT_LENGTH])
    values = {
        "mlkem_seed": seed,
        "x25519_private": scalar,
        "k_c": key.public_bytes,
        "pkconf_specs": _PKCONF,
        "symmetric_specs": specs,
        "n_c": client_nonce,
        "init1": init1.encode(),
        "n_s": server_nonce,
        "enc": enc,
        **kem,
        **_hpke(kem["shared_secret"]),
        "chosen_symmetric": chosen.spec,
        "init2": Init2(chosen.spec, enc).encode(),
        **_keys(server_nonce, init1, chosen),
    }
    return {name: value.hex() for name, value in values.items()}


def document() -> dict[str, Any]:
    """The whole file."""
    everything = (AES_SIV_CMAC_256, AES_256_GCM_SIV, AES128_CTR_SEQIV_HMAC_SHA1)
    found = [exchange(everything, AES_SIV_CMAC_256), exchange((AES_256_GCM_SIV,), AES_256_GCM_SIV)]
    return {"exchanges": found}


if __name__ == "__main__":
    PATH.write_text(json.dumps(document(), indent=1) + "\n")
