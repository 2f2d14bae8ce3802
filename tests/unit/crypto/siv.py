"""AES-SIV as RFC 5297 writes it, on single blocks of AES: not the library's.

Run `python -m tests.unit.crypto.siv` to write tests/vectors/aes-siv/vectors.json.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PATH = Path(__file__).parents[2] / "vectors" / "aes-siv" / "vectors.json"
BLOCK = 16


def aes(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)  # noqa: S305  (one block)


def xor(first: bytes, second: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(first, second, strict=True))


def doubled(block: bytes) -> bytes:
    """Section 2.3: multiplied by x in GF(2^128)."""
    number = int.from_bytes(block, "big") << 1
    return ((number ^ 0x87 if number >> 128 else number) & (1 << 128) - 1).to_bytes(BLOCK, "big")


def cmac(key: bytes, data: bytes) -> bytes:
    """RFC 4493, section 2.4."""
    subkey = doubled(aes(key, bytes(BLOCK)))
    start = max(len(data) - 1, 0) // BLOCK * BLOCK
    last = data[start:]
    if len(last) < BLOCK:
        last, subkey = (last + b"\x80").ljust(BLOCK, b"\0"), doubled(subkey)
    state = bytes(BLOCK)
    for at in range(0, start, BLOCK):
        state = aes(key, xor(state, data[at : at + BLOCK]))
    return aes(key, xor(state, xor(last, subkey)))


def s2v(key: bytes, strings: Sequence[bytes]) -> bytes:
    """Section 2.4; the last string is the plaintext."""
    state = cmac(key, bytes(BLOCK))
    for string in strings[:-1]:
        state = xor(doubled(state), cmac(key, string))
    last = strings[-1]
    if len(last) >= BLOCK:
        return cmac(key, last[:-BLOCK] + xor(last[-BLOCK:], state))
    return cmac(key, xor(doubled(state), (last + b"\x80").ljust(BLOCK, b"\0")))


def sealed(key: bytes, associated_data: Sequence[bytes], plaintext: bytes) -> tuple[bytes, bytes]:
    """Section 2.6: the ciphertext, and the tag that stands before it."""
    mac_key, cipher_key = key[: len(key) // 2], key[len(key) // 2 :]
    tag = s2v(mac_key, [*associated_data, plaintext])
    counter = int.from_bytes(tag, "big") & ~(1 << 63 | 1 << 31)
    blocks = range(-(-len(plaintext) // BLOCK))
    stream = b"".join(aes(cipher_key, (counter + i & (1 << 128) - 1).to_bytes(BLOCK, "big")) for i in blocks)
    return xor(plaintext, stream[: len(plaintext)]), tag


def main() -> None:
    random = Random(5297)
    vectors = []
    for size, options in ((0, 0), (1, 0), (15, 8), (16, 0), (17, 12), (100, 0), (1408, 0), (1448, 8)):
        key, header, acknowledgment = random.randbytes(40), random.randbytes(16), random.randbytes(8)
        covered, payload = random.randbytes(options), random.randbytes(size)
        ciphertext, tag = sealed(key[:32], [header + acknowledgment + covered], payload)
        parts = {"key": key, "M": header, "A": acknowledgment, "O": covered, "payload": payload}
        parts |= {"ciphertext": ciphertext, "tag": tag}
        vectors.append({name: part.hex() for name, part in parts.items()})
    PATH.write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
