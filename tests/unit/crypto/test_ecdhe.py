from itertools import count
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto.ecdhe import ECDHE_SCHEMES, P256, P521, X448, X25519, MontgomeryPrivate, NistPrivate
from tcpcryptd.crypto.key_scheme import InvalidPublicKey, KeyPair, KeyScheme


class Nist(NamedTuple):
    """y^2 = x^3 - 3x + b over the field of p (FIPS 186-4 section D.1.2)."""

    scheme: KeyScheme
    curve: ec.EllipticCurve
    p: int
    b: int
    length: int

    def has(self, x: int) -> bool:
        return pow(x**3 - 3 * x + self.b, (self.p - 1) // 2, self.p) == 1

    def pub(self, x: int) -> bytes:
        return (3 + self.length).to_bytes(2, "big") + b"\x02" + x.to_bytes(self.length, "big")


NIST = [
    Nist(
        P256,
        ec.SECP256R1(),
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
        32,
    ),
    Nist(
        P521,
        ec.SECP521R1(),
        2**521 - 1,
        0x51953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
        66,
    ),
]

P25519 = 2**255 - 19
P448 = 2**448 - 2**224 - 1
# X25519: RFC 7748 section 7's curve points of order 1, 2, 4 and 8 and of the twist, and what reduces to them.
LOW_ORDER_25519 = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P25519 - 1,
    P25519,
    P25519 + 1,
)
LOW_ORDER = [
    *((X25519, (u | top).to_bytes(32, "little")) for u in LOW_ORDER_25519 for top in (0, 1 << 255)),
    *((X448, u.to_bytes(56, "little")) for u in (0, 1, P448 - 1, P448, P448 + 1)),
]

each_scheme = pytest.mark.parametrize("scheme", ECDHE_SCHEMES, ids=lambda scheme: scheme.name)
each_nist = pytest.mark.parametrize("nist", NIST, ids=lambda nist: nist.scheme.name)


def key_pair(scheme: KeyScheme, private: bytes) -> KeyPair:
    if scheme is X25519:
        return MontgomeryPrivate(X25519PrivateKey.from_private_bytes(private))
    if scheme is X448:
        return MontgomeryPrivate(X448PrivateKey.from_private_bytes(private))
    curve = next(nist.curve for nist in NIST if nist.scheme is scheme)
    return NistPrivate(ec.derive_private_key(int.from_bytes(private, "big"), curve))


# Private key, Pub, the peer's two, the shared secret: RFC 7748 sections 6.1 and 6.2, RFC 5903 sections 8.1 and 8.3 (the
# points compressed, the length of RFC 8548 before them).
PUBLISHED = [
    (
        X25519,
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    ),
    (
        X448,
        "9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28dd9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b",
        "9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0",
        "1c306a7ac2a0e2e0990b294470cba339e6453772b075811d8fad0d1d6927c120bb5ee8972b0d3e21374c9c921b09d1b0366f10b65173992d",
        "3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b43027d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609",
        "07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282bb60c0b56fd2464c335543936521c24403085d59a449a5037514a879d",
    ),
    (
        P256,
        "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
        "002303dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180",
        "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
        "002303d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63",
        "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
    ),
    (
        P521,
        "0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a095aa85a30fe1c2952c6771d937ba9777f5957b2639bab072"
        "462f68c27a57382d4a52",
        "0045020015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbee1e3bf42e00b8e380aeae57c2d107564941885942a"
        "f5a7f4601723c4195d176ced3e",
        "0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e9c677d600b343757a3bdbf2a3163e4c2f869cca7458aa4a4"
        "effc311f5cb151685eb9",
        "00450200d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a219b97c356436adc6e95bb0352f6be64a6c2912d4ef2"
        "d0433ced2b6171640012d9460f",
        "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d1427e73ca4baa240a34786859810c06b3c715a3a8cc3151"
        "f2bee417996d19f3ddea",
    ),
]


@pytest.mark.parametrize("vector", PUBLISHED, ids=lambda vector: vector[0].name)
def test_published_vectors(vector: tuple[KeyScheme, str, str, str, str, str]) -> None:
    scheme, (private, public, peer_private, peer_public, secret) = vector[0], map(bytes.fromhex, vector[1:])
    own, peer = key_pair(scheme, private), key_pair(scheme, peer_private)
    assert own.public == public
    assert peer.public == peer_public
    assert own.exchange(peer_public) == secret
    assert peer.exchange(public) == secret


def test_registry_is_table_4_and_best_first() -> None:
    assert [scheme.tep for scheme in ECDHE_SCHEMES] == [0x23, 0x24, 0x21, 0x22]


@each_scheme
def test_two_sides_agree(scheme: KeyScheme) -> None:
    one, other = scheme.generate(), scheme.generate()
    assert one.public != other.public
    assert len(one.public) == scheme.public_length
    assert one.exchange(other.public) == other.exchange(one.public)


@each_scheme
@given(data=st.data())
def test_arbitrary_bytes_agree_or_are_refused(scheme: KeyScheme, data: st.DataObject) -> None:
    own = scheme.generate()
    length = scheme.public_length
    peer = data.draw(st.binary(max_size=length + 1) | st.binary(min_size=length, max_size=length))
    try:
        secret = own.exchange(peer)
    except InvalidPublicKey:
        return
    assert len(peer) == length
    assert any(secret)


@each_scheme
def test_another_length_is_refused(scheme: KeyScheme) -> None:
    own, peer = scheme.generate(), scheme.generate().public
    for wrong in (b"", peer[:1], peer[:2], peer[:3], peer[:-1], peer + b"\0"):
        with pytest.raises(InvalidPublicKey, match="bytes"):
            own.exchange(wrong)


@pytest.mark.parametrize(("scheme", "peer"), LOW_ORDER, ids=lambda value: getattr(value, "name", None))
def test_low_order_is_refused(scheme: KeyScheme, peer: bytes) -> None:
    with pytest.raises(InvalidPublicKey, match="low order"):
        scheme.generate().exchange(peer)


@each_nist
def test_pubkey_length_counts_itself_and_a_peers_may_not(nist: Nist) -> None:
    own, peer = nist.scheme.generate(), nist.scheme.generate()
    length = 2 + 1 + nist.length
    assert int.from_bytes(peer.public[:2], "big") == len(peer.public) == length
    for said in range(2**16):
        other = said.to_bytes(2, "big") + peer.public[2:]
        if said in (length, length - 2):
            assert own.exchange(other) == peer.exchange(own.public)
        elif abs(said - length) < 4 or not said & 0xFF:
            with pytest.raises(InvalidPublicKey, match="says"):
                own.exchange(other)


@each_nist
def test_uncompressed_and_hybrid_points_are_refused(nist: Nist) -> None:
    own = nist.scheme.generate()
    key = ec.generate_private_key(nist.curve).public_key()
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with pytest.raises(InvalidPublicKey, match="bytes"):
        own.exchange((2 + len(point)).to_bytes(2, "big") + point)
    compressed = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    for kind in (0, 1, 4, 5, 6, 7, 0xFF):
        with pytest.raises(InvalidPublicKey, match="compressed"):
            own.exchange((2 + len(compressed)).to_bytes(2, "big") + bytes((kind,)) + compressed[1:])


@each_nist
def test_point_off_the_curve_is_refused(nist: Nist) -> None:
    own = nist.scheme.generate()
    on_curve = next(x for x in count(1) if nist.has(x))
    own.exchange(nist.pub(on_curve))
    off_curve = next(x for x in count(1) if not nist.has(x))
    # Of the field elements' other names, too.
    for x in (off_curve, nist.p, nist.p + on_curve, nist.p + off_curve, 2 ** (8 * nist.length) - 1):
        with pytest.raises(InvalidPublicKey, match="curve"):
            own.exchange(nist.pub(x))


@each_nist
def test_shared_secret_keeps_leading_zeros(nist: Nist) -> None:
    """ECSVDP-DH gives a field element, which has the length of the field whatever its value."""
    peer = NistPrivate(ec.derive_private_key(2, nist.curve))
    for scalar in count(1):
        secret = NistPrivate(ec.derive_private_key(scalar, nist.curve)).exchange(peer.public)
        assert len(secret) == nist.length
        if not secret[0]:
            return


@pytest.mark.parametrize("vector", PUBLISHED, ids=lambda vector: vector[0].name)
def test_key_and_error_show_nothing(vector: tuple[KeyScheme, str, str, str, str, str]) -> None:
    scheme, private = vector[0], bytes.fromhex(vector[1])
    own = key_pair(scheme, private)
    with pytest.raises(InvalidPublicKey) as raised:
        own.exchange(bytes(scheme.public_length))
    for shown in (repr(own), str(own), repr(raised.value)):
        assert private.hex() not in shown
        assert repr(private)[2:-1] not in shown
