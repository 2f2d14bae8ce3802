from tcpcryptd.crypto import identity

# RFC 8032, section 7.1, test 2; RFC 4231, test case 2.
PRIVATE = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
TAG = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")


def test_ed25519() -> None:
    assert identity.public_key(PRIVATE) == PUBLIC
    assert identity.sign(PRIVATE, b"\x72") == SIGNATURE
    assert identity.is_signed(PUBLIC, b"\x72", SIGNATURE)
    assert not identity.is_signed(PUBLIC, b"\x73", SIGNATURE)
    assert not identity.is_signed(PUBLIC, b"\x72", SIGNATURE[:-1])
    assert not identity.is_signed(b"short", b"\x72", SIGNATURE)


def test_hmac() -> None:
    assert identity.tag(b"Jefe", b"what do ya want for nothing?") == TAG
    assert identity.is_tagged(b"Jefe", b"what do ya want for nothing?", TAG)
    assert not identity.is_tagged(b"Jefe", b"what do ya want for nothing!", TAG)
    assert not identity.is_tagged(b"Jefe", b"what do ya want for nothing?", TAG[:-1])
