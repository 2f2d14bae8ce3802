import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from tcpcryptd.crypto.aes_gcm_siv import GcmSivProtection

# RFC 8452 appendix C.2: key 01 00..., nonce 03 00..., which is the nonce of this sequence number.
RFC_KEY = bytes.fromhex("01" + "00" * 31)
RFC_SEQUENCE = 0x0300000000000000
RFC_CASES = [
    ("", "", "07f5f4169bbf55a8400cd47ea6fd400f"),
    ("0100000000000000", "", "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28"),
    ("010000000000000000000000", "", "9aab2aeb3faa0a34aea8e2b18ca50da9ae6559e48fd10f6e5c9ca17e"),
    ("01000000000000000000000000000000", "", "85a01b63025ba19b7fd3ddfc033b3e76c9eac6fa700942702e90862383c6c366"),
    ("0200000000000000", "01", "1de22967237a813291213f267e3b452f02d01ae33e4ec854"),
    ("020000000000000000000000", "01", "163d6f9cc1b346cd453a2e4cc1a4a19ae800941ccdc57cc8413c277f"),
    (
        "0200000000000000000000000000000003000000000000000000000000000000",
        "01",
        "07dad364bfc2b9da89116d7bef6daaaf6f255510aa654f920ac81b94e8bad365aea1bad12702e1965604374aab96dbbc",
    ),
]
HEADER = bytes(range(16))


@pytest.mark.parametrize(("plaintext", "associated_data", "result"), RFC_CASES)
def test_rfc_8452_vectors(plaintext: str, associated_data: str, result: str) -> None:
    protection = GcmSivProtection(RFC_KEY + bytes(8), b"")
    header, data, sealed = bytes.fromhex(associated_data), bytes.fromhex(plaintext), bytes.fromhex(result)
    assert protection.seal(RFC_SEQUENCE, header, b"", b"", data) == (sealed[:-16], sealed[-16:])
    assert protection.open(RFC_SEQUENCE, header, b"", b"", sealed[:-16], sealed[-16:]) == data


def test_nonce_and_associated_data_are_as_documented() -> None:
    key = bytes(range(40))
    sequence = 0x0123456789ABCDEF
    sealed = AESGCMSIV(key[:32]).encrypt(
        bytes.fromhex("0123456789abcdef00000000"), b"payload", HEADER + b"A" * 8 + b"options"
    )
    assert GcmSivProtection(key, b"").seal(sequence, HEADER, b"A" * 8, b"options", b"payload") == (
        sealed[:-16],
        sealed[-16:],
    )


def test_other_sequence_number_is_refused() -> None:
    protection = GcmSivProtection(bytes(40), b"")
    ciphertext, tag = protection.seal(5, HEADER, bytes(8), b"", b"payload")
    assert protection.open(5, HEADER, bytes(8), b"", ciphertext, tag) == b"payload"
    for other in (4, 6, 5 + 2**32):
        assert protection.open(other, HEADER, bytes(8), b"", ciphertext, tag) is None


def test_retransmission_with_another_acknowledgment_has_another_keystream() -> None:
    protection = GcmSivProtection(bytes(40), b"")
    plaintext = bytes(64)
    first, first_tag = protection.seal(5, HEADER, bytes(8), b"", plaintext)
    second, second_tag = protection.seal(5, HEADER, bytes(7) + b"\x01", b"", plaintext)
    assert first_tag != second_tag
    # With the same keystream, a zero plaintext would have enciphered to the same bytes.
    assert not any(first[i : i + 16] == second[i : i + 16] for i in range(0, 64, 16))


def test_short_key_material_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        GcmSivProtection(bytes(31), b"")
