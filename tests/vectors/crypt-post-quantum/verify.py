"""Check vectors.json against docs/suites.md, RFC 9180 and the specification of CRYPT, without any code of tcpcryptd.

Everything is derived anew from the private keys, the nonces, the lists and the ciphertext, and compared with the
file. ML-KEM-768, X25519 and AES-GCM are the library's.

Usage: python verify.py [vectors.json]
"""

import hashlib
import hmac
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PATH = Path(__file__).with_name("vectors.json")

# docs/suites.md#mlkem768-x25519-hpke
SPEC = bytes.fromhex("f11313")
LABEL = bytes.fromhex("5c2e2f2f5e5c")
INFO = b"tcpcryptd CRYPT MLKEM768-X25519-HPKE 1"
# RFC 9180, 5.1: "HPKE", kem_id, kdf_id, aead_id.
SUITE_ID = bytes.fromhex("48504b45647a00010001")
CT_M, CT = 1088, 1120
HASH_LENGTH = 32


class Mismatch(Exception):
    """The file is not what the documents say."""


def sha256(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256; HKDF-Extract is just that (RFC 5869)."""
    return hmac.new(key, message, hashlib.sha256).digest()


def sha1(key: bytes, message: bytes) -> bytes:
    """The protocol's own function."""
    return hmac.new(key, message, hashlib.sha1).digest()


def labeled_extract(salt: bytes, label: bytes, material: bytes) -> bytes:
    """RFC 9180, 4. An empty salt is as many zeros as the hash has bytes."""
    return sha256(salt or bytes(HASH_LENGTH), b"HPKE-v1" + SUITE_ID + label + material)


def labeled_expand(secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """RFC 9180, 4, for no more than one block."""
    return sha256(secret, length.to_bytes(2, "big") + b"HPKE-v1" + SUITE_ID + label + info + b"\x01")[:length]


def check_kem(found: dict[str, bytes], computed: dict[str, bytes]) -> None:
    """Both halves, and what becomes of them."""
    mlkem = MLKEM768PrivateKey.from_seed_bytes(found["mlkem_seed"])
    x25519 = X25519PrivateKey.from_private_bytes(found["x25519_private"])
    pk_x = x25519.public_key().public_bytes_raw()
    computed["k_c"] = mlkem.public_key().public_bytes_raw() + pk_x
    ct_x = found["enc"][CT_M:CT]
    computed["ss_m"] = mlkem.decapsulate(found["enc"][:CT_M])
    computed["ss_x"] = x25519.exchange(X25519PublicKey.from_public_bytes(ct_x))
    computed["shared_secret"] = hashlib.sha3_256(computed["ss_m"] + computed["ss_x"] + ct_x + pk_x + LABEL).digest()


def check_hpke(found: dict[str, bytes], computed: dict[str, bytes]) -> None:
    """RFC 9180, 5.1 and 5.2, mode_base."""
    computed["info"] = INFO
    computed["psk_id_hash"] = labeled_extract(b"", b"psk_id_hash", b"")
    computed["info_hash"] = labeled_extract(b"", b"info_hash", INFO)
    context = b"\x00" + computed["psk_id_hash"] + computed["info_hash"]
    computed["key_schedule_context"] = context
    computed["secret"] = labeled_extract(computed["shared_secret"], b"secret", b"")
    computed["key"] = labeled_expand(computed["secret"], b"key", context, 16)
    computed["base_nonce"] = labeled_expand(computed["secret"], b"base_nonce", context, 12)
    try:
        computed["n_s"] = AESGCM(computed["key"]).decrypt(computed["base_nonce"], found["enc"][CT:], b"")
    except InvalidTag:
        raise Mismatch("enc does not open") from None


def check_messages(found: dict[str, bytes], computed: dict[str, bytes]) -> None:
    """The specification's section 2."""
    specs, key, enc = found["symmetric_specs"], computed["k_c"], found["enc"]
    lengths = (1, len(specs) // 4, len(found["n_c"]), len(key))
    head = b"".join(number.to_bytes(2, "big") for number in lengths)
    computed["init1"] = head + specs + found["n_c"] + b"\x00" + SPEC + key
    computed["init2"] = bytes((0, 2)) + len(enc).to_bytes(2, "big") + found["chosen_symmetric"] + enc
    if SPEC not in (found["pkconf_specs"][at : at + 3] for at in range(0, len(found["pkconf_specs"]), 3)):
        raise Mismatch("pkconf_specs does not offer the mechanism")
    chosen = found["chosen_symmetric"]
    if chosen not in (specs[at : at + 4] for at in range(0, len(specs), 4)):
        raise Mismatch("chosen_symmetric was not offered")


def check_schedule(found: dict[str, bytes], computed: dict[str, bytes]) -> None:
    """The specification's section 4."""
    covered = (
        computed["k_c"] + found["pkconf_specs"] + found["symmetric_specs"] + found["chosen_symmetric"] + found["n_c"]
    )
    secret = computed["ss_0"] = sha1(computed["n_s"], covered)
    computed["session_id"] = sha1(secret, bytes((0, 0, 0, 0)))
    computed["ss_1"] = sha1(secret, bytes((0, 0, 0, 1)))
    computed["session_id_1"] = sha1(computed["ss_1"], bytes((0, 0, 0, 0)))
    master = computed["mk_0"] = sha1(secret, bytes((0, 0, 0, 2)))
    for tag, name in enumerate(("c_enc", "c_mac", "s_enc", "s_mac"), 3):
        computed[name] = b"".join(sha1(master, bytes((0, 0, 0, tag, block))) for block in (1, 2))


def check_exchange(exchange: dict[str, str]) -> None:
    """Check one key exchange.

    Raises:
        Mismatch: A value is not what the documents say.
    """
    found = {name: bytes.fromhex(value) for name, value in exchange.items()}
    computed: dict[str, bytes] = {}
    for step in (check_kem, check_hpke, check_messages, check_schedule):
        step(found, computed)
    for name, value in computed.items():
        if found.get(name) != value:
            raise Mismatch(f"{name} is not {value.hex()}")


def main() -> int:
    """The exit code."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PATH
    exchanges = json.loads(path.read_text())["exchanges"]
    for number, exchange in enumerate(exchanges):
        try:
            check_exchange(exchange)
        except Mismatch as mismatch:
            sys.stderr.write(f"exchange {number}: {mismatch}\n")
            return 1
    sys.stdout.write(f"{len(exchanges)} key exchanges are right\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
