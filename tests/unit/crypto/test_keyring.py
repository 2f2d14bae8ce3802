from tcpcryptd.crypto.keyring import KeyRing
from tcpcryptd.crypto.rsa_oaep import RsaOaep
from tcpcryptd.crypto.x25519_hpke import X25519Hpke, X25519Key


def test_a_ring_begins_empty() -> None:
    assert KeyRing(RsaOaep()).current() is None


def test_generating_does_not_put_a_key_to_use() -> None:
    ring = KeyRing(X25519Hpke())
    key = ring.generate()
    assert ring.current() is None
    ring.replace(key)
    assert ring.current() is key


def test_replace_changes_the_key_and_leaves_the_old_one_usable() -> None:
    agreement = X25519Hpke()
    ring = KeyRing(agreement)
    first, second = ring.generate(), ring.generate()
    ring.replace(first)
    held = ring.current()
    ring.replace(second)
    assert ring.current() is second
    assert held is first
    assert first.decapsulate(agreement.encapsulate(first.public_bytes, bytes(16))) == bytes(16)


def test_the_generating_hook_is_used() -> None:
    key = X25519Hpke().generate()
    assert isinstance(key, X25519Key)
    assert KeyRing(RsaOaep(), lambda: key).generate() is key


def test_a_ring_shows_nothing() -> None:
    ring = KeyRing(X25519Hpke())
    ring.replace(ring.generate())
    assert repr(ring) == object.__repr__(ring)
