"""Key schedule of tcpcrypt (RFC 8548 sections 3.1 and 3.3 to 3.5) with HKDF-SHA256 (RFC 5869), as every TEP has it.

Secrets and master keys have K_LEN = 32 bytes (section 5).
"""

import hmac
from typing import Final

from tcpcryptd.crypto.frame_aead import FrameAead
from tcpcryptd.crypto.prf import Prf

K_LEN: Final = 32
"""Bytes of PRK, ss[i] and mk[j]."""
NONCE_LENGTH: Final = 32
"""N_A_LEN and N_B_LEN, bytes."""
RESUMPTION_IDENTIFIER_LENGTH: Final = 18
"""Bytes of resume[i]; each half names the session in one direction."""

_CONST_NEXTK: Final = b"\x01"
_CONST_SESSID: Final = b"\x02"
_CONST_REKEY: Final = b"\x03"
_CONST_KEY_A: Final = b"\x04"
_CONST_KEY_B: Final = b"\x05"
_CONST_RESUME: Final = b"\x06"

_HASH: Final = "sha256"
_HASH_LENGTH: Final = 32
_MAX_BLOCKS: Final = 255


def extract(salt: bytes, material: bytes) -> bytes:
    """Return Extract(salt, material), 32 bytes (Figure 1, HKDF-Extract)."""
    return hmac.digest(salt, material, _HASH)


def keyed(secret: bytes) -> Prf:
    """The pseudorandom function of ss[i], from which several values follow."""
    return Prf(secret, is_sha256=True)


def cprf(key: bytes | Prf, constant: bytes, length: int) -> bytes:
    """Return CPRF(key, constant, length) (Figure 1, HKDF-Expand).

    Raises:
        ValueError: More than 255 * 32 bytes are asked for.
    """
    blocks = -(-length // _HASH_LENGTH)
    if blocks > _MAX_BLOCKS:
        raise ValueError(f"{length} bytes from HKDF-Expand, which gives {_MAX_BLOCKS * _HASH_LENGTH} at most")
    block = b""
    material = b""
    for counter in range(1, blocks + 1):
        data = block + constant + bytes((counter,))
        block = hmac.digest(key, data, _HASH) if isinstance(key, bytes) else key.of(data)
        material += block
    return material[:length]


def prk(nonce_a: bytes, eno_transcript: bytes, init1: bytes, init2: bytes, ephemeral_secret: bytes) -> bytes:
    """Return PRK, which is ss[0] (section 3.3).

    Args:
        nonce_a: N_A, 32 bytes, as in Init1.
        eno_transcript: The ENO options of host A's SYN, then of host B's (RFC 8547 section 4.8).
        init1: The message as sent, with whatever follows Pub_A.
        init2: The message as sent, with whatever follows Pub_B.
        ephemeral_secret: ES.
    """
    return extract(nonce_a, eno_transcript + init1 + init2 + ephemeral_secret)


def next_secret(secret: bytes | Prf) -> bytes:
    """Return ss[i+1] for ss[i]."""
    return cprf(secret, _CONST_NEXTK, K_LEN)


def session_id(tep_byte: int, secret: bytes | Prf, nonce: bytes) -> bytes:
    """Return session_id[i], 33 bytes (section 3.4).

    Args:
        tep_byte: TEP identifier and v bit as host B sent them.
        secret: ss[i].
        nonce: sn[i], nonce_a | nonce_b, at most 16 bytes; empty after a key exchange.
    """
    return bytes((tep_byte,)) + cprf(secret, _CONST_SESSID + nonce, K_LEN)


def resumption_identifier(secret: bytes | Prf) -> bytes:
    """Return resume[i] of ss[i], 18 bytes (section 3.5).

    The first 9 are sent by the host that was A when ss[0] was made, the others by the host that was B.
    """
    return cprf(secret, _CONST_RESUME, RESUMPTION_IDENTIFIER_LENGTH)


def first_master_key(secret: bytes | Prf, nonce: bytes) -> bytes:
    """Return mk[0] of ss[i] and sn[i], which is empty after a key exchange (section 3.3)."""
    return cprf(secret, _CONST_REKEY + nonce, K_LEN)


def next_master_key(master: bytes) -> bytes:
    """Return mk[j] of mk[j-1] (section 3.3)."""
    return cprf(master, _CONST_REKEY, K_LEN)


def traffic_key(master: bytes, aead: FrameAead, direction: int) -> bytes:
    """Return k_ab[j] (direction 0) or k_ba[j] (1) of mk[j] (section 3.3).

    A and B are the roles when ss[0] was made, whatever they are in a session that resumes it (section 3.5).
    """
    return cprf(master, _CONST_KEY_B if direction else _CONST_KEY_A, aead.traffic_key_length)
