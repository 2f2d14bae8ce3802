from dataclasses import replace
from itertools import product
from typing import NoReturn

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from tcpcryptd.crypto import suites
from tcpcryptd.crypto.suites import PUBLIC_KEY_ALGORITHMS, RSA_2048, SYMMETRIC_SUITES, X25519_HPKE
from tests.unit.crypto.vectors import load_connections

FIRST = load_connections()[0]
ORIGINAL = suites.AES128_CTR_SEQIV_HMAC_SHA1


def _specs(listed: str, length: int) -> list[bytes]:
    data = bytes.fromhex(listed)
    return [data[i : i + length] for i in range(0, len(data), length)]


def test_original_identifiers_are_the_recorded_ones() -> None:
    assert ORIGINAL.spec.hex() == FIRST["sym_cipher"]
    assert RSA_2048.spec.hex() == FIRST["negotiated_pkey_spec"]


def test_the_originals_list_offers_the_originals_suite_only() -> None:
    offered = _specs(FIRST["sym_cipher_list"], 4)
    assert [suite for suite in SYMMETRIC_SUITES if suite.offered_by(offered)] == [ORIGINAL]


@pytest.mark.parametrize("suite", SYMMETRIC_SUITES, ids=lambda suite: suite.name)
def test_a_suite_is_offered_by_its_spec(suite: suites.SymmetricSuite) -> None:
    assert len(suite.spec) == 4
    assert suite.offered_by([b"\x00\x02\x00\x02", suite.spec])


def test_the_originals_suite_is_offered_as_the_original_does() -> None:
    assert ORIGINAL.offer in (b"".join(pair) for pair in product(_specs(FIRST["sym_cipher_list"], 4), repeat=2))


@pytest.mark.parametrize("suite", SYMMETRIC_SUITES, ids=lambda suite: suite.name)
def test_what_a_suite_offers_offers_it_and_no_other(suite: suites.SymmetricSuite) -> None:
    offered = _specs(suite.offer.hex(), 4)
    assert [other for other in SYMMETRIC_SUITES if other.offered_by(offered)] == [suite]


@pytest.mark.parametrize("algorithm", PUBLIC_KEY_ALGORITHMS, ids=lambda algorithm: algorithm.agreement.name)
def test_only_one_mechanism_accepts_a_spec(algorithm: suites.PublicKeyAlgorithm) -> None:
    assert len(algorithm.spec) == suites.PUBLIC_KEY_SPEC_LENGTH
    assert _accepting(algorithm.spec) == [algorithm]


@pytest.mark.parametrize("spec", ["", "00", "00000000", "00010000", "00000001", "00020002", "0001000100", "01010101"])
def test_no_suite_for_other_specs(spec: str) -> None:
    assert not any(suite.offered_by([bytes.fromhex(spec)]) for suite in SYMMETRIC_SUITES)


@pytest.mark.parametrize("spec", ["", "02", "0204", "02040404", "020103", "020508", "020501", "010404", "000000"])
def test_no_mechanism_for_other_specs(spec: str) -> None:
    assert _accepting(bytes.fromhex(spec)) == []


@pytest.mark.parametrize("spec", ["020404", "020108", "020004", "0204ff"])
def test_mechanism_for_a_range_that_has_its_key_size(spec: str) -> None:
    assert _accepting(bytes.fromhex(spec)) == [RSA_2048]


def _accepting(spec: bytes) -> list[suites.PublicKeyAlgorithm]:
    return [algorithm for algorithm in PUBLIC_KEY_ALGORITHMS if algorithm.accepts(spec)]


def test_a_cipher_and_a_mac_of_different_suites_offer_nothing() -> None:
    crossed = [bytes((0, ORIGINAL.cipher, 0, 0)), bytes((0, 0, 0, suites.AES_256_GCM_SIV.mac))]
    assert not any(suite.offered_by(crossed) for suite in SYMMETRIC_SUITES)


def test_half_of_a_wildcard_offers_nothing() -> None:
    assert not ORIGINAL.offered_by([bytes((0, ORIGINAL.cipher, 0, 0))])
    assert not ORIGINAL.offered_by([bytes((0, 0, 0, ORIGINAL.mac))])


def test_identifiers_are_distinct_and_ours_are_private() -> None:
    assert len({suite.spec for suite in SYMMETRIC_SUITES}) == len(SYMMETRIC_SUITES)
    assert len({suite.name for suite in SYMMETRIC_SUITES}) == len(SYMMETRIC_SUITES)
    assert len({entry.algorithm for entry in PUBLIC_KEY_ALGORITHMS}) == len(PUBLIC_KEY_ALGORITHMS)
    assert all(suite.cipher >= 0xF0 and suite.mac >= 0xF0 for suite in SYMMETRIC_SUITES if suite is not ORIGINAL)
    assert X25519_HPKE.algorithm >= 0xF0


@pytest.mark.parametrize("error", [UnsupportedAlgorithm("no AES-SIV"), ValueError("data must not be zero length")])
def test_a_suite_that_the_library_lacks_is_left_out(error: Exception) -> None:
    def lacking(_encryption_key: bytes, _mac_key: bytes) -> NoReturn:
        raise error

    assert suites.works_here(suites.AES_SIV_CMAC_256)
    assert not suites.works_here(replace(suites.AES_SIV_CMAC_256, protection=lacking))


def test_the_originals_suite_ranks_last_and_rekeys_before_its_keystream_repeats() -> None:
    assert SYMMETRIC_SUITES[-1] is ORIGINAL
    assert ORIGINAL.rekey_bytes <= 2**23
