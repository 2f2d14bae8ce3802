import pytest

from tcpcryptd.crypt import CryptConfig, algorithm_names
from tcpcryptd.crypto.suites import AES_256_GCM_SIV, PUBLIC_KEY_ALGORITHMS, RSA_2048, SYMMETRIC_SUITES


def test_all_algorithms_have_names() -> None:
    names = algorithm_names()
    assert len(set(names)) == len(PUBLIC_KEY_ALGORITHMS) + len(SYMMETRIC_SUITES)
    assert CryptConfig().restricted(names).symmetric_suites == SYMMETRIC_SUITES


def test_a_kind_that_is_named_is_restricted() -> None:
    config = CryptConfig()
    assert config.restricted(()) == config
    symmetric = config.restricted(("AES-256-GCM-SIV",))
    assert symmetric.symmetric_suites == (AES_256_GCM_SIV,)
    assert symmetric.public_key_algorithms == PUBLIC_KEY_ALGORITHMS
    both = config.restricted(("AES-256-GCM-SIV", "RSA-2048"))
    assert (both.public_key_algorithms, both.symmetric_suites) == ((RSA_2048,), (AES_256_GCM_SIV,))
    assert both.rsa_keys is config.rsa_keys


def test_unknown_names() -> None:
    with pytest.raises(
        ValueError,
        match="'ROT13'; known: MLKEM768-X25519-HPKE, X25519-HPKE, RSA-2048, AES-SIV-CMAC-256, AES-256-GCM-SIV, AES128",
    ):
        CryptConfig().restricted(("RSA-2048", "ROT13"))
