"""Write tests/vectors/tcpcrypt/vectors.json: known answers for tcpcrypt (RFC 8548), the same at every run.

What is random in ML-KEM's encapsulation cannot be chosen: its ciphertexts are taken over from the file as it is.

Run it from the root of the repository: python -m scripts.make_tcpcrypt_vectors
The format is in the README.md beside the file, which verify.py there checks without any code of this package.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tcpcryptd.crypto import ecdhe, tcpcrypt_schedule
from tcpcryptd.crypto.frame_aead import FRAME_AEADS, NONCE_LENGTH, TAG_LENGTH, FrameAead
from tcpcryptd.crypto.hybrid import MLKEM768_X25519, HybridPair
from tcpcryptd.crypto.key_scheme import EXPERIMENTAL_TEP, KeyPair, KeyScheme
from tcpcryptd.crypto.mlkem768_x25519 import KemKey

PATH: Final = Path(__file__).parents[1] / "tests" / "vectors" / "tcpcrypt" / "vectors.json"

_SEED = b"tcpcryptd tcpcrypt vectors 1"
_KIND = 69
_INIT1_MAGIC = bytes.fromhex("15101a0e")
_INIT2_MAGIC = bytes.fromhex("097105e0")
_V = 0x80
_B_BIT = b"\x01"
_HALF = 9
_EXPERIMENT = bytes.fromhex("5f7b")
_EXPERIMENT_HALF = 6
_MLKEM_CIPHERTEXT = 1088
_SECRETS = 4
_NIST_ORDERS = {
    ecdhe.P256.tep: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    ecdhe.P521.tep: (1 << 521) - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7,
}


@dataclass(frozen=True)
class Resumption:
    """A connection that resumes; nonce lengths of the hosts that were A and B when the keys were exchanged."""

    i: int
    swapped: bool
    nonce_lengths: tuple[int, int]


SCHEMES: Final = (*ecdhe.ECDHE_SCHEMES, MLKEM768_X25519)
RESUMPTIONS = (Resumption(1, False, (8, 8)), Resumption(2, False, (0, 0)), Resumption(3, True, (8, 5)))


def random(label: str, length: int) -> bytes:
    return hashlib.shake_256(_SEED + b"\0" + label.encode()).digest(length)


def offer(schemes: Iterable[KeyScheme]) -> bytes:
    """Suboptions for a key exchange with each of them, the experiment's last and with a length byte."""
    agreements = bytes(each.agreement for each in schemes if each.agreement)
    teps = bytes(each.tep for each in schemes if not each.agreement)
    experiment = bytes((0x83, _V | EXPERIMENTAL_TEP)) + _EXPERIMENT + agreements.ljust(2, b"\0")
    return teps + (experiment if agreements else b"")


def answer(scheme: KeyScheme) -> bytes:
    """The suboption that chooses one of them."""
    if not scheme.agreement:
        return bytes((scheme.tep,))
    return bytes((_V | EXPERIMENTAL_TEP,)) + _EXPERIMENT + bytes((scheme.agreement,))


@cache
def mlkem_ciphertext(name: str, public: bytes) -> bytes:
    """The one that the file has for a chain, or one that is made now."""
    chains = json.loads(PATH.read_text())["chains"] if PATH.exists() else []
    for each in chains:
        if each["name"] == name:
            return bytes.fromhex(each["connections"][0]["pub_b"])[:_MLKEM_CIPHERTEXT]
    return MLKEM768PublicKey.from_public_bytes(public).encapsulate()[1]


def hybrid(label: str) -> dict[str, bytes]:
    """What both sides of MLKEM768-X25519 have, but for PRK: the KEM's two halves and what is made of them."""
    seed, scalar = random(f"{label} mlkem", 64), random(f"{label} private_a", 32)
    mlkem, x25519 = MLKEM768PrivateKey.from_seed_bytes(seed), X25519PrivateKey.from_private_bytes(scalar)
    ephemeral = X25519PrivateKey.from_private_bytes(random(f"{label} private_b", 32))
    ciphertext = mlkem_ciphertext(label, mlkem.public_key().public_bytes_raw())
    pair = HybridPair(KemKey(mlkem, x25519))
    public_b = ciphertext + ephemeral.public_key().public_bytes_raw()
    return {
        "private_a": seed + scalar,
        "private_b": ephemeral.private_bytes_raw(),
        "pub_a": pair.public,
        "pub_b": public_b,
        "es_mlkem": mlkem.decapsulate(ciphertext),
        "es_mlkem_rejected": mlkem.decapsulate(ciphertext[:-1] + bytes((ciphertext[-1] ^ 1,))),
        "es_x25519": x25519.exchange(ephemeral.public_key()),
        "es": pair.exchange(public_b),
    }


def ecdhe_exchange(scheme: KeyScheme, label: str) -> dict[str, bytes]:
    """The same of an ECDHE scheme."""
    private_a, a = key_pair(scheme, f"{label} private_a")
    private_b, b = key_pair(scheme, f"{label} private_b")
    found = {"private_a": private_a, "private_b": private_b, "pub_a": a.public, "pub_b": b.public}
    return found | {"es": a.exchange(b.public)}


def key_pair(scheme: KeyScheme, label: str) -> tuple[bytes, KeyPair]:
    """Return a private key as the file has it, and the pair."""
    if scheme is ecdhe.X25519:
        raw = random(label, 32)
        return raw, ecdhe.MontgomeryPrivate(X25519PrivateKey.from_private_bytes(raw))
    if scheme is ecdhe.X448:
        raw = random(label, 56)
        return raw, ecdhe.MontgomeryPrivate(X448PrivateKey.from_private_bytes(raw))
    curve = ec.SECP256R1() if scheme is ecdhe.P256 else ec.SECP521R1()
    length = (curve.key_size + 7) // 8
    scalar = 1 + int.from_bytes(random(label, length + 8), "big") % (_NIST_ORDERS[scheme.tep] - 1)
    return scalar.to_bytes(length, "big"), ecdhe.NistPrivate(ec.derive_private_key(scalar, curve))


def tcp_option(contents: bytes) -> bytes:
    return bytes((_KIND, 2 + len(contents))) + contents


def init_message(magic: bytes, middle: bytes, public: bytes) -> bytes:
    length = len(magic) + 4 + len(middle) + len(public)
    return magic + length.to_bytes(4, "big") + middle + public


def frame_plan(first: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Frames of one connection: data, urgent data, a rekey and its answer, FINp with and without data."""
    position = dict(first)
    plan: tuple[tuple[str, int, bool, int | None, bool, int], ...] = (
        ("A", 0, False, None, False, 5),
        ("B", 0, False, None, False, 1),
        ("A", 0, False, 3, False, 33),
        ("A", 1, True, None, False, 0),
        ("B", 1, True, None, False, 0),
        ("B", 1, False, None, False, 300),
        ("A", 1, False, 2, True, 16),
        ("B", 1, False, None, True, 0),
    )
    for sender, generation, rekey, urgent, fin, length in plan:
        frame = {"sender": sender, "generation": generation, "rekey": rekey, "urgent": urgent, "fin": fin}
        yield frame | {"offset": position[sender], "length": length}
        position[sender] += 3 + 1 + (2 if urgent is not None else 0) + length + TAG_LENGTH


def distant_plan() -> Iterator[dict[str, Any]]:
    """Frames far into a stream, where the offset needs its high bytes."""
    for sender, offset in (("A", 2**32 - 1), ("B", 2**32), ("A", 0x0123456789ABCDEF), ("B", 2**64 - 1)):
        frame = {"sender": sender, "generation": 1, "rekey": False, "urgent": None, "fin": False}
        yield frame | {"offset": offset, "length": 7}


def frame(plan: dict[str, Any], traffic_key: bytes, aead: FrameAead, label: str) -> dict[str, Any]:
    data = random(f"{label} {plan['sender']} {plan['offset']}", plan.pop("length"))
    urgent = b"" if plan["urgent"] is None else plan["urgent"].to_bytes(2, "big")
    flags = (2 if urgent else 0) | (1 if plan["fin"] else 0)
    plaintext = bytes((flags,)) + urgent + data
    header = bytes((plan["rekey"],)) + (len(plaintext) + TAG_LENGTH).to_bytes(2, "big")
    sealed = aead.protection(traffic_key).seal(plan["offset"], header, plaintext)
    randomizer = int.from_bytes(traffic_key[-NONCE_LENGTH:], "big")
    return plan | {
        "data": data.hex(),
        "nonce": (randomizer ^ plan["offset"]).to_bytes(NONCE_LENGTH, "big").hex(),
        "associated_data": header.hex(),
        "plaintext": plaintext.hex(),
        "frame": (header + sealed).hex(),
    }


def protect(connection: dict[str, Any], aead: FrameAead, first: dict[str, int], secret: bytes, label: str) -> None:
    """Add what a fresh and a resumed connection have alike: keys and frames."""
    nonce = bytes.fromhex(connection["sn"])
    masters = [tcpcrypt_schedule.first_master_key(secret, nonce)]
    masters.append(tcpcrypt_schedule.next_master_key(masters[0]))
    keys = [[tcpcrypt_schedule.traffic_key(master, aead, direction) for direction in (0, 1)] for master in masters]
    connection["session_id"] = tcpcrypt_schedule.session_id(connection["tep_byte"], secret, nonce).hex()
    connection["generations"] = [
        {"mk": master.hex(), "k_ab": k_ab.hex(), "k_ba": k_ba.hex()}
        for master, (k_ab, k_ba) in zip(masters, keys, strict=True)
    ]
    for name, plans in (("frames", frame_plan(first)), ("distant_frames", distant_plan())):
        connection[name] = [
            frame(plan, keys[plan["generation"]][(plan["sender"] == "B") ^ connection["swapped"]], aead, label)
            for plan in plans
        ]


def fresh(scheme: KeyScheme, aead: FrameAead, label: str) -> tuple[dict[str, Any], bytes]:
    """Return the connection that exchanges keys, and its PRK."""
    exchange = hybrid(label) if scheme is MLKEM768_X25519 else ecdhe_exchange(scheme, label)
    nonce_a, nonce_b = (random(f"{label} {name}", tcpcrypt_schedule.NONCE_LENGTH) for name in ("nonce_a", "nonce_b"))
    option_a = tcp_option(offer(SCHEMES if scheme.is_extensible else ecdhe.ECDHE_SCHEMES))
    option_b = tcp_option(_B_BIT + answer(scheme))
    extensions = bytes(2) if scheme.is_extensible else b""
    ciphers = b"".join(offered.identifier.to_bytes(2, "big") for offered in FRAME_AEADS)
    init1 = init_message(_INIT1_MAGIC, bytes((len(FRAME_AEADS),)) + ciphers + nonce_a, exchange["pub_a"] + extensions)
    init2 = init_message(_INIT2_MAGIC, aead.identifier.to_bytes(2, "big") + nonce_b, exchange["pub_b"] + extensions)
    prk = tcpcrypt_schedule.prk(nonce_a, option_a + option_b, init1, init2, exchange["es"])
    connection: dict[str, Any] = {
        "i": 0,
        "swapped": False,
        "tep_byte": _V | scheme.tep if scheme.agreement else scheme.tep,
        "option_a": option_a.hex(),
        "option_b": option_b.hex(),
        "eno_transcript": (option_a + option_b).hex(),
        "private_a": exchange["private_a"].hex(),
        "private_b": exchange["private_b"].hex(),
        "n_a": nonce_a.hex(),
        "n_b": nonce_b.hex(),
        "pub_a": exchange["pub_a"].hex(),
        "pub_b": exchange["pub_b"].hex(),
        "init1": init1.hex(),
        "init2": init2.hex(),
        **{name: value.hex() for name, value in exchange.items() if name.startswith("es")},
        "prk": prk.hex(),
        "sn": "",
    }
    protect(connection, aead, {"A": len(init1), "B": len(init2)}, prk, f"{label} 0")
    return connection, prk


def resumed(scheme: KeyScheme, aead: FrameAead, label: str, resumption: Resumption, secret: bytes) -> dict[str, Any]:
    """Return a connection that resumes; RFC 8548 Figures 2 and 3 name nonces and halves after the original roles."""
    label = f"{label} {resumption.i}"
    tep_byte = _V | scheme.tep
    identifier = tcpcrypt_schedule.resumption_identifier(secret)
    nonces = [random(f"{label} {name}", n) for name, n in zip("AB", resumption.nonce_lengths, strict=True)]
    halves = [identifier[:_HALF], identifier[_HALF:]]
    start = bytes((tep_byte,))
    if scheme.agreement:
        halves = [half[:_EXPERIMENT_HALF] for half in halves]
        start += _EXPERIMENT + bytes((_V | scheme.agreement,))
    named = [start + half + nonce for half, nonce in zip(halves, nonces, strict=True)]
    now_a, now_b = reversed(named) if resumption.swapped else named
    option_a, option_b = tcp_option(now_a), tcp_option(_B_BIT + now_b)
    connection: dict[str, Any] = {
        "i": resumption.i,
        "swapped": resumption.swapped,
        "tep_byte": tep_byte,
        "option_a": option_a.hex(),
        "option_b": option_b.hex(),
        "eno_transcript": (option_a + option_b).hex(),
        "nonce_a": nonces[0].hex(),
        "nonce_b": nonces[1].hex(),
        "sn": b"".join(nonces).hex(),
    }
    protect(connection, aead, {"A": 0, "B": 0}, secret, label)
    return connection


def chain(scheme: KeyScheme, aead: FrameAead) -> dict[str, Any]:
    """Return a key exchange and the connections that resume it."""
    label = f"{scheme.name} {aead.name}"
    first, prk = fresh(scheme, aead, label)
    secrets = [prk]
    while len(secrets) < _SECRETS:
        secrets.append(tcpcrypt_schedule.next_secret(secrets[-1]))
    connections = [first, *(resumed(scheme, aead, label, each, secrets[each.i]) for each in RESUMPTIONS)]
    return {
        "name": label,
        "tep": scheme.tep,
        **({"agreement": scheme.agreement} if scheme.agreement else {}),
        "aead": aead.identifier,
        "ss": [secret.hex() for secret in secrets],
        "resume": [tcpcrypt_schedule.resumption_identifier(secret).hex() for secret in secrets],
        "connections": connections,
    }


def document() -> str:
    chains = [chain(scheme, aead) for scheme in SCHEMES for aead in FRAME_AEADS]
    return json.dumps({"chains": chains}, indent=1) + "\n"


if __name__ == "__main__":
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text(document())
    print(f"{PATH}: {PATH.stat().st_size} bytes")
