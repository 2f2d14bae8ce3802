from tcpcryptd.core.session_cache import SessionCache


def test_a_limit_of_zero_keeps_nothing() -> None:
    cache = SessionCache(0, 60.0)
    cache.put(b"peer", b"session", 1.0)
    assert len(cache) == 0
    assert cache.take(b"peer", 1.0, lambda _: True) is None
    assert cache.flush() == 0
