"""Check vectors.json against the text of RFC 8548 and docs/eno.md, without any code of tcpcryptd.

Everything is derived anew from the private keys, the nonces and the two ENO options; what the file says in between is
compared on the way. Section numbers are those of RFC 8548 unless "RFC 8547" stands before them. TEP 0x20 is the
experiment of docs/eno.md, with MLKEM768-X25519 (draft-connolly-cfrg-xwing-kem), whose two halves are put together here.

Usage: python verify.py [vectors.json]
"""

import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PATH = Path(__file__).with_name("vectors.json")

# 4.3, Table 1.
NEXTK, SESSID, REKEY, KEY_A, KEY_B, RESUME = (bytes([n]) for n in range(1, 7))
INIT1_MAGIC = 0x15101A0E
INIT2_MAGIC = 0x097105E0
# 5: N_A_LEN, N_B_LEN and K_LEN are 32 for every TEP.
N_LEN = K_LEN = 32
# 7, Table 4, with the curves of 5 and the bytes of a coordinate.
MONTGOMERY: dict[int, tuple[Any, Any, int]] = {
    0x23: (X25519PrivateKey, X25519PublicKey, 32),
    0x24: (X448PrivateKey, X448PublicKey, 56),
}
NIST = {0x21: (ec.SECP256R1(), 32), 0x22: (ec.SECP521R1(), 66)}
# docs/eno.md: TEP, first bytes of the suboption's data, bytes of half an identifier, key agreement.
EXPERIMENTAL, EXPERIMENT, SHORT_HALF, HYBRID = 0x20, bytes.fromhex("5f7b"), 6, 0x41
# Bytes of ML-KEM-768's key and ciphertext (FIPS 203, Table 3), behind which X25519's 32 stand.
MLKEM_KEY, MLKEM_CIPHERTEXT = 1184, 1088
XWING_LABEL = bytes.fromhex("5c2e2f2f5e5c")
# 6, Table 3, and 7, Table 5: constructor, ae_key_len. ae_nonce_len is 12 for each.
AEADS: dict[int, tuple[Any, int]] = {0x0001: (AESGCM, 16), 0x0002: (AESGCM, 32), 0x0010: (ChaCha20Poly1305, 32)}
NONCE_LEN = 12


class Mismatch(Exception):
    """The file is not what the RFC says."""


class Suboption(NamedTuple):
    """One suboption of a SYN-form ENO option that holds a TEP identifier."""

    tep_byte: int
    data: bytes

    @property
    def tep(self) -> int:
        return self.tep_byte & 0x7F


class EnoOption(NamedTuple):
    """A SYN-form ENO option."""

    b: int
    suboptions: list[Suboption]


def check(what: str, said: object, right: object) -> None:
    if type(said) is not type(right) or said != right:
        raise Mismatch(f"{what}: {said!r}, should be {right!r}")


def check_hex(what: str, said: object, right: bytes) -> None:
    check(what, said, right.hex())


def hmac_sha256(key: bytes, value: bytes) -> bytes:
    return hmac.new(key, value, hashlib.sha256).digest()


def cprf(k: bytes, const: bytes, length: int) -> bytes:
    """3.1, Figure 1, HKDF-Expand."""
    okm, t, n = b"", b"", 0
    while len(okm) < length:
        n += 1
        t = hmac_sha256(k, t + const + bytes([n]))
        okm += t
    return okm[:length]


def parse_option(option: bytes) -> EnoOption:
    """RFC 8547 4.1 to 4.4: the SYN form; only a last suboption has data in these vectors, some with a length byte."""
    check("kind", option[0], 69)
    check("option length", option[1], len(option))
    b, suboptions, at = 0, [], 2
    while at < len(option):
        octet = option[at]
        v, glt = octet >> 7, octet & 0x7F
        if v and glt < 0x20:
            check("data's length", len(option) - at - 2, (octet & 0x1F) + 1)
            check("TEP behind a length byte", option[at + 1] >= 0xA0, True)
            at += 1
        elif glt < 0x20:
            check("place of the global suboption", (v, at), (0, 2))
            b = octet & 1
            at += 1
        elif v:
            suboptions.append(Suboption(octet, option[at + 1 :]))
            at = len(option)
        else:
            suboptions.append(Suboption(octet, b""))
            at += 1
    return EnoOption(b, suboptions)


def negotiate(option_a: EnoOption, option_b: EnoOption) -> tuple[Suboption, Suboption]:
    """3.2: the last TEP of B that A also has; RFC 8547 4.3: A is the host with b = 0."""
    check("b bits of A and B", (option_a.b, option_b.b), (0, 1))
    for chosen in reversed(option_b.suboptions):
        for offered in option_a.suboptions:
            if offered.tep == chosen.tep:
                return offered, chosen
    raise Mismatch("no TEP in common")


def key_agreement(tep: int, private: bytes, peer: bytes) -> tuple[bytes, bytes]:
    """5: return the own Pub as transmitted, and ES."""
    if tep in MONTGOMERY:
        private_type, public_type, length = MONTGOMERY[tep]
        check("private key's length", len(private), length)
        check("Pub's length", len(peer), length)
        key = private_type.from_private_bytes(private)
        # The exchange fails when the secret is all zeros.
        return key.public_key().public_bytes_raw(), key.exchange(public_type.from_public_bytes(peer))
    curve, length = NIST[tep]
    check("private key's length", len(private), length)
    pair = ec.derive_private_key(int.from_bytes(private, "big"), curve)
    point = pair.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    # The figure numbers the last byte L - 1, counted from the length's own first byte.
    check("pubkey_len", int.from_bytes(peer[:2], "big"), 2 + 1 + length)
    check("Pub's length", len(peer), 2 + 1 + length)
    check("compressed format", peer[2] in (2, 3), True)
    peer_key = ec.EllipticCurvePublicKey.from_encoded_point(curve, peer[2:])
    return (2 + len(point)).to_bytes(2, "big") + point, pair.exchange(ec.ECDH(), peer_key)


def hybrid_agreement(connection: dict[str, Any], pub_a: bytes, pub_b: bytes) -> bytes:
    """docs/eno.md: return ES. A's private key is ML-KEM's seed (64) and X25519's scalar, B's the ephemeral scalar."""
    private_a, private_b = (bytes.fromhex(connection[name]) for name in ("private_a", "private_b"))
    check("private keys' lengths", (len(private_a), len(private_b)), (96, 32))
    mlkem = MLKEM768PrivateKey.from_seed_bytes(private_a[:64])
    x25519 = X25519PrivateKey.from_private_bytes(private_a[64:])
    ephemeral = X25519PrivateKey.from_private_bytes(private_b)
    public, share = x25519.public_key().public_bytes_raw(), ephemeral.public_key().public_bytes_raw()
    check_hex("pub_a", pub_a.hex(), mlkem.public_key().public_bytes_raw() + public)
    check("pub_a's length", len(pub_a), MLKEM_KEY + 32)
    check("pub_b's length", len(pub_b), MLKEM_CIPHERTEXT + 32)
    check_hex("X25519 half of pub_b", pub_b[MLKEM_CIPHERTEXT:].hex(), share)
    of_mlkem, of_x25519 = mlkem.decapsulate(pub_b[:MLKEM_CIPHERTEXT]), x25519.exchange(ephemeral.public_key())
    check_hex("es_mlkem", connection["es_mlkem"], of_mlkem)
    # FIPS 203, 6.3: implicit rejection takes z, the seed's second half, and the ciphertext.
    wrong = pub_b[: MLKEM_CIPHERTEXT - 1] + bytes([pub_b[MLKEM_CIPHERTEXT - 1] ^ 1])
    rejected = hashlib.shake_256(private_a[32:64] + wrong).digest(32)
    check_hex("es_mlkem_rejected", connection["es_mlkem_rejected"], rejected)
    check_hex("es_x25519", connection["es_x25519"], of_x25519)
    check_hex(
        "es_x25519 of B", of_x25519.hex(), ephemeral.exchange(X25519PublicKey.from_public_bytes(pub_a[MLKEM_KEY:]))
    )
    es = hashlib.sha3_256(of_mlkem + of_x25519 + share + public + XWING_LABEL).digest()
    check_hex("ES", connection["es"], es)
    return es


def parse_init(message: bytes, magic: int) -> bytes:
    """4.1: check magic and message_len, return the rest."""
    check("INIT_MAGIC", int.from_bytes(message[:4], "big"), magic)
    check("message_len", int.from_bytes(message[4:8], "big"), len(message))
    return message[8:]


def check_exchange(connection: dict[str, Any], tep: int, aead: int) -> tuple[bytes, dict[str, int]]:
    """3.3: return PRK, and the offsets at which frames begin."""
    init1, init2 = bytes.fromhex(connection["init1"]), bytes.fromhex(connection["init2"])
    rest = parse_init(init1, INIT1_MAGIC)
    ciphers_end = 1 + 2 * rest[0]
    ciphers = [int.from_bytes(rest[at : at + 2], "big") for at in range(1, ciphers_end, 2)]
    n_a, pub_a = rest[ciphers_end : ciphers_end + N_LEN], rest[ciphers_end + N_LEN :]
    rest = parse_init(init2, INIT2_MAGIC)
    check("sym_cipher", int.from_bytes(rest[:2], "big"), aead)
    check("sym_cipher in sym_cipher_list", aead in ciphers, True)
    n_b, pub_b = rest[2 : 2 + N_LEN], rest[2 + N_LEN :]
    if tep == EXPERIMENTAL:
        # The extension field, which has nothing but its length.
        check("extensions", (pub_a[-2:], pub_b[-2:]), (bytes(2), bytes(2)))
        pub_a, pub_b = pub_a[:-2], pub_b[:-2]
    for name, value in (("n_a", n_a), ("n_b", n_b), ("pub_a", pub_a), ("pub_b", pub_b)):
        check_hex(name, connection[name], value)
    if tep == EXPERIMENTAL:
        es_a = hybrid_agreement(connection, pub_a, pub_b)
    else:
        own_a, es_a = key_agreement(tep, bytes.fromhex(connection["private_a"]), pub_b)
        own_b, es_b = key_agreement(tep, bytes.fromhex(connection["private_b"]), pub_a)
        check_hex("pub_a", pub_a.hex(), own_a)
        check_hex("pub_b", pub_b.hex(), own_b)
        check_hex("ES of A", connection["es"], es_a)
        check_hex("ES of B", connection["es"], es_b)
    transcript = bytes.fromhex(connection["option_a"]) + bytes.fromhex(connection["option_b"])
    prk = hmac_sha256(n_a, transcript + init1 + init2 + es_a)
    check_hex("prk", connection["prk"], prk)
    return prk, {"A": len(init1), "B": len(init2)}


def check_resumption(connection: dict[str, Any], offered: Suboption, chosen: Suboption, secret: bytes) -> bytes:
    """3.5: return sn[i]. Figures 2 and 3 tie halves and nonces to the roles of the first connection."""
    resume = cprf(secret, RESUME, 18)
    of_a, of_b = (chosen, offered) if connection["swapped"] else (offered, chosen)
    check("v of A and B", (offered.tep_byte >> 7, chosen.tep_byte >> 7), (1, 1))
    prefix, half = b"", 9
    if chosen.tep == EXPERIMENTAL:
        prefix, half = EXPERIMENT + bytes([0x80 | HYBRID]), SHORT_HALF
    start = len(prefix)
    check("experiment of A and B", (of_a.data[:start], of_b.data[:start]), (prefix, prefix))
    check_hex("resume[i], first half", of_a.data[start : start + half].hex(), resume[:half])
    check_hex("resume[i], second half", of_b.data[start : start + half].hex(), resume[9 : 9 + half])
    nonce_a, nonce_b = of_a.data[start + half :], of_b.data[start + half :]
    check("nonces of 0 to 8 bytes", len(nonce_a) <= 8 and len(nonce_b) <= 8, True)
    check_hex("nonce_a", connection["nonce_a"], nonce_a)
    check_hex("nonce_b", connection["nonce_b"], nonce_b)
    return nonce_a + nonce_b


def check_frame(frame: dict[str, Any], traffic_key: bytes, aead: int, rekey: bool) -> int:
    """3.6 and 4.2: seal and open one frame; return its length on the wire."""
    urgent = b"" if frame["urgent"] is None else frame["urgent"].to_bytes(2, "big")
    flags = (0b10 if urgent else 0) | (0b01 if frame["fin"] else 0)
    plaintext = bytes([flags]) + urgent + bytes.fromhex(frame["data"])
    check_hex("plaintext", frame["plaintext"], plaintext)
    check("rekey", frame["rekey"], rekey)
    associated_data = bytes([int(rekey)]) + (len(plaintext) + 16).to_bytes(2, "big")
    check_hex("associated_data", frame["associated_data"], associated_data)
    make_cipher, key_len = AEADS[aead]
    k, nr = traffic_key[:key_len], traffic_key[key_len:]
    frame_id = bytes(NONCE_LEN - 8) + frame["offset"].to_bytes(8, "big")
    nonce = bytes(left ^ right for left, right in zip(frame_id, nr, strict=True))
    check_hex("nonce", frame["nonce"], nonce)
    ciphertext = make_cipher(k).encrypt(nonce, plaintext, associated_data)
    check_hex("frame", frame["frame"], associated_data + ciphertext)
    check_hex("opened", make_cipher(k).decrypt(nonce, ciphertext, associated_data).hex(), plaintext)
    return len(associated_data) + len(ciphertext)


def check_frames(connection: dict[str, Any], keys: list[tuple[bytes, bytes]], first: dict[str, int], aead: int) -> None:
    """3.6 to 3.8: offsets, the sender's key, rekey on the first frame of a generation alone, FINp on the last."""
    offset, generation, finished = dict(first), {"A": 0, "B": 0}, set()
    for number, frame in enumerate(connection["frames"] + connection["distant_frames"]):
        sender, distant = frame["sender"], number >= len(connection["frames"])
        check("sender is A or B", sender in ("A", "B"), True)
        # 3.3: k_ab belongs to the host that was A in the first connection.
        key = keys[frame["generation"]][(sender == "B") != connection["swapped"]]
        rekey = not distant and frame["generation"] > generation[sender]
        length = check_frame(frame, key, aead, rekey)
        if distant:
            check("FINp of a distant frame", frame["fin"], False)
            continue
        check("offset", frame["offset"], offset[sender])
        check("frame after FINp", sender in finished, False)
        check("generation", frame["generation"], generation[sender] + rekey)
        offset[sender] += length
        generation[sender] = frame["generation"]
        if frame["fin"]:
            finished.add(sender)
    check("FINp of both", finished, {"A", "B"})


def check_connection(chain: dict[str, Any], connection: dict[str, Any], secrets: list[bytes]) -> None:
    """Check one connection of a chain; secrets are ss[0], ss[1] and so on, made by the first connection here."""
    tep, aead, i = chain["tep"], chain["aead"], connection["i"]
    options = [bytes.fromhex(connection[name]) for name in ("option_a", "option_b")]
    check_hex("eno_transcript", connection["eno_transcript"], b"".join(options))
    offered, chosen = negotiate(*map(parse_option, options))
    check("tep", tep, chosen.tep)
    check("tep_byte", connection["tep_byte"], chosen.tep_byte)
    first = {"A": 0, "B": 0}
    if i == 0:
        check("swapped", connection["swapped"], False)
        check("v of B", chosen.tep_byte >> 7, int(tep == EXPERIMENTAL))
        if tep == EXPERIMENTAL:
            agreement = EXPERIMENT + bytes([chain["agreement"]])
            check("agreement", chain["agreement"], HYBRID)
            # The offer has four bytes, of which a zero names no agreement.
            check("data of A and B", (offered.data, chosen.data), (agreement + bytes(1), agreement))
        prk, first = check_exchange(connection, tep, aead)
        secrets.append(prk)
        for _ in chain["ss"][1:]:
            secrets.append(cprf(secrets[-1], NEXTK, K_LEN))
        sn = b""
    else:
        sn = check_resumption(connection, offered, chosen, secrets[i])
    check_hex("sn", connection["sn"], sn)
    session_id = bytes([chosen.tep_byte]) + cprf(secrets[i], SESSID + sn, K_LEN)
    check_hex("session_id", connection["session_id"], session_id)
    mk, keys = b"", []
    length = AEADS[aead][1] + NONCE_LEN
    for j, said in enumerate(connection["generations"]):
        mk = cprf(mk, REKEY, K_LEN) if j else cprf(secrets[i], REKEY + sn, K_LEN)
        k_ab, k_ba = cprf(mk, KEY_A, length), cprf(mk, KEY_B, length)
        for name, value in (("mk", mk), ("k_ab", k_ab), ("k_ba", k_ba)):
            check_hex(f"{name}[{j}]", said[name], value)
        keys.append((k_ab, k_ba))
    check_frames(connection, keys, first, aead)


def check_chain(chain: dict[str, Any]) -> None:
    """Check a key exchange and the connections that resume it.

    Raises:
        Mismatch: A value is not what the RFC says.
    """
    secrets: list[bytes] = []
    for number, connection in enumerate(chain["connections"]):
        check("i", connection["i"], number)
        check_connection(chain, connection, secrets)
    check("ss", chain["ss"], [secret.hex() for secret in secrets])
    check("resume", chain["resume"], [cprf(secret, RESUME, 18).hex() for secret in secrets])


def main() -> int:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PATH
    chains = json.loads(path.read_text())["chains"]
    for chain in chains:
        try:
            check_chain(chain)
        except Mismatch as mismatch:
            sys.stderr.write(f"{chain['name']}: {mismatch}\n")
            return 1
    connections = [connection for chain in chains for connection in chain["connections"]]
    frames = sum(len(connection["frames"]) + len(connection["distant_frames"]) for connection in connections)
    sys.stdout.write(f"{len(chains)} key exchanges, {len(connections)} connections and {frames} frames are right\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
