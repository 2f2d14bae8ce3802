import hashlib
import hmac
from typing import Any

import pytest

from tcpcryptd.crypto import key_schedule
from tcpcryptd.crypto.prf import hmac_sha1
from tests.unit.crypto.vectors import load_connections

CONNECTIONS = load_connections()
FIRST, CACHED = CONNECTIONS

each_connection = pytest.mark.parametrize("connection", CONNECTIONS, ids=lambda connection: connection["name"])


def test_prf_is_hmac_sha1_over_the_concatenation() -> None:
    assert hmac_sha1(b"key", b"one", b"", b"two") == hmac.new(b"key", b"onetwo", "sha1").digest()


def test_prf_rfc_2202_case_2() -> None:
    expected = bytes.fromhex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
    assert hmac_sha1(b"Jefe", b"what do ya want ", b"for nothing?") == expected


def test_initial_secret_of_the_first_connection() -> None:
    secret = key_schedule.initial_secret(
        server_nonce=bytes.fromhex(FIRST["N_S"]),
        public_key=bytes.fromhex(FIRST["K_C"]),
        public_specs=bytes.fromhex(FIRST["pub_cipher_list"]),
        symmetric_specs=bytes.fromhex(FIRST["sym_cipher_list"]),
        chosen_symmetric=bytes.fromhex(FIRST["sym_cipher"]),
        client_nonce=bytes.fromhex(FIRST["N_C"]),
    )
    assert secret.hex() == FIRST["ss"]


def test_initial_secret_of_messages_with_extensions() -> None:
    """docs/crypt-option.md section 17."""
    init1, init2 = b"INIT1", b"INIT2 of the server"
    secret = key_schedule.initial_secret(
        server_nonce=bytes(16),
        public_key=b"key",
        public_specs=b"pub",
        symmetric_specs=b"symmetric",
        chosen_symmetric=b"spec",
        client_nonce=b"nonce",
        messages=key_schedule.digest(init1, init2),
    )
    both = hashlib.sha256(b"\0\0\0\5INIT1INIT2 of the server").digest()
    assert secret == hmac.new(bytes(16), b"keypubsymmetricspecnonce" + both, "sha1").digest()
    assert key_schedule.digest(b"INIT1I", b"NIT2 of the server") != both


@each_connection
def test_session_values(connection: dict[str, Any]) -> None:
    secret = bytes.fromhex(connection["ss"])
    assert key_schedule.session_id(secret).hex() == connection["sid"]
    assert key_schedule.master_key_and_next_secret(secret)[1].hex() == connection["nk"]
    assert key_schedule.master_key_and_next_secret(secret)[0].hex() == connection["mk"]


@each_connection
def test_cached_session_values(connection: dict[str, Any]) -> None:
    cached = connection["session_cache_for_next"]
    secret = key_schedule.master_key_and_next_secret(bytes.fromhex(connection["ss"]))[1]
    assert secret.hex() == cached["ss_next"]
    assert key_schedule.session_id(secret).hex() == cached["sid_next"]
    assert key_schedule.master_key_and_next_secret(secret)[0].hex() == cached["mk_next"]
    assert key_schedule.master_key_and_next_secret(secret)[1].hex() == cached["nk_next"]


def test_the_second_connection_resumes_the_first() -> None:
    assert key_schedule.master_key_and_next_secret(bytes.fromhex(FIRST["ss"]))[1].hex() == CACHED["ss"]


@each_connection
def test_traffic_keys(connection: dict[str, Any]) -> None:
    keys = key_schedule.traffic_keys(bytes.fromhex(connection["mk"]))
    assert {
        "C_ENC": keys.client_encryption.hex(),
        "C_MAC": keys.client_mac.hex(),
        "S_ENC": keys.server_encryption.hex(),
        "S_MAC": keys.server_mac.hex(),
    } == connection["keys"]


def test_next_master_key_has_the_tag_of_the_master_key() -> None:
    master = bytes.fromhex(FIRST["mk"])
    assert key_schedule.next_master_key(master) == hmac.digest(master, b"\x00\x00\x00\x02", "sha1")


def test_traffic_keys_show_nothing() -> None:
    keys = key_schedule.traffic_keys(bytes(20))
    shown = f"{keys!r} {keys}"
    for key in (keys.client_encryption, keys.client_mac, keys.server_encryption, keys.server_mac):
        assert key.hex() not in shown
        assert repr(key) not in shown
