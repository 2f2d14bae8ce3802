"""The tables of suites in the dissector, for Wireshark and in docs/ agree with the registries."""

import re
from pathlib import Path
from typing import Final

import pytest

from tcpcryptd.crypto import suites
from tcpcryptd.crypto.ecdhe import ECDHE_SCHEMES
from tcpcryptd.crypto.frame_aead import FRAME_AEADS
from tcpcryptd.crypto.hybrid import MLKEM768_X25519
from tcpcryptd.crypto.suites import RSA_2048, PublicKeyAlgorithm, SymmetricSuite
from tcpcryptd.dissect import names

ROOT: Final = Path(__file__).resolve().parents[3]
LUA: Final = (ROOT / "packaging/wireshark/tcpcrypt.lua").read_text()
CRYPT_OPTION: Final = (ROOT / "docs/crypt-option.md").read_text()
PAGE_OF_SUITES: Final = (ROOT / "docs/suites.md").read_text()
ORIGINAL: Final = suites.AES128_CTR_SEQIV_HMAC_SHA1
# Also those that this host's library does not have.
SYMMETRIC: Final = [each for each in vars(suites).values() if isinstance(each, SymmetricSuite)]
PUBLIC_KEY: Final = [each for each in vars(suites).values() if isinstance(each, PublicKeyAlgorithm)]

DISSECTOR: Final = {
    "ALGORITHMS": names.PUBLIC_KEY_ALGORITHMS,
    "CIPHERS": names.CIPHERS,
    "MACS": names.MACS,
    "TEPS": names.TEPS,
    "AGREEMENTS": names.AGREEMENTS,
    "AEADS": names.AEADS,
}


def wireshark(table: str) -> dict[int, str]:
    body = re.search(rf"^local {table} = {{(.*?)}}", LUA, re.MULTILINE | re.DOTALL)
    assert body is not None
    return {int(number, 16): name for number, name in re.findall(r'\[(0x\w+)\] = "([^"]+)"', body[1])}


def rows(page: str, columns: int) -> list[list[str]]:
    """The rows of a page's tables that have so many columns, without backticks."""
    cells = [line.strip("| ").replace("`", "").split(" | ") for line in page.splitlines() if line.startswith("|")]
    return [row for row in cells if len(row) == columns]


@pytest.mark.parametrize("table", DISSECTOR)
def test_wireshark_has_the_tables_of_the_dissector(table: str) -> None:
    assert wireshark(table) == DISSECTOR[table]


def test_the_dissector_names_every_symmetric_suite() -> None:
    cipher, mac = ORIGINAL.name.split("/")
    private = [each for each in SYMMETRIC if each is not ORIGINAL]
    assert {each.cipher: each.name for each in private} | {0: "any", 2: "RC4", ORIGINAL.cipher: cipher} == names.CIPHERS
    assert {each.mac: each.name for each in private} | {0: "any", 2: "UMAC", ORIGINAL.mac: mac} == names.MACS


def test_the_dissector_names_every_public_key_mechanism() -> None:
    private = {each.algorithm: each.agreement.name for each in PUBLIC_KEY if each is not RSA_2048}
    assert private | {RSA_2048.algorithm: "RSA"} == names.PUBLIC_KEY_ALGORITHMS
    assert {each.algorithm for each in PUBLIC_KEY if each.agreement.post_quantum} == names.POST_QUANTUM


def test_the_dissector_names_every_algorithm_of_eno() -> None:
    assert {each.identifier: each.name for each in FRAME_AEADS} == names.AEADS
    schemes = {each.tep: each.name.removeprefix("ECDHE-").replace("-", "") for each in ECDHE_SCHEMES}
    assert schemes | {MLKEM768_X25519.tep: "experimental"} == {
        tep: name.replace("-", "") for tep, name in names.TEPS.items()
    }
    assert names.AGREEMENTS[MLKEM768_X25519.agreement] == MLKEM768_X25519.name


def test_the_reference_lists_every_suite_best_first() -> None:
    section = CRYPT_OPTION[CRYPT_OPTION.index("## 12. Suites") : CRYPT_OPTION.index("## 13. ")]
    found = [row for row in rows(section, 4) if re.fullmatch(r"[0-9a-f ]+", row[0])]
    mechanisms = [
        [
            each.spec.hex(" "),
            each.agreement.name,
            f"{each.public_key_length:,} bytes",
            f"{each.ciphertext_length:,} bytes",
        ]
        for each in PUBLIC_KEY
    ]
    symmetric = [
        [each.spec.hex(" "), each.name, f"{each.tag_length} bytes", f"2^{each.rekey_bytes.bit_length() - 1} bytes"]
        for each in SYMMETRIC
    ]
    # RSA's row says more than its name.
    assert [[spec, name.partition(",")[0], *sizes] for spec, name, *sizes in found] == mechanisms + symmetric


@pytest.mark.parametrize("name", [each.agreement.name for each in PUBLIC_KEY if each is not RSA_2048])
def test_every_mechanism_of_ours_has_a_section(name: str) -> None:
    assert f"\n## {name}\n" in PAGE_OF_SUITES


@pytest.mark.parametrize("name", [each.name for each in SYMMETRIC if each is not ORIGINAL])
def test_every_symmetric_suite_of_ours_has_a_section(name: str) -> None:
    assert f"\n## {name}\n" in PAGE_OF_SUITES


def test_every_suite_is_registered_where_the_library_has_it() -> None:
    assert [each for each in SYMMETRIC if suites.works_here(each)] == list(suites.SYMMETRIC_SUITES)
    assert [each for each in PUBLIC_KEY if each in suites.PUBLIC_KEY_ALGORITHMS] == list(suites.PUBLIC_KEY_ALGORITHMS)
