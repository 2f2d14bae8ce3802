from pathlib import Path

import pytest

from tcpcryptd.core.protocol import Outcome
from tcpcryptd.crypto import identity
from tcpcryptd.crypto.ssh_keys import read_certificate
from tcpcryptd.identity.claim import Claim
from tcpcryptd.identity.known_hosts import KnownHosts
from tcpcryptd.identity.learned import LearnedKeys
from tcpcryptd.identity.public_key import fingerprint, key_line
from tcpcryptd.identity.trust import Trust
from tests.unit.identity.openssh import certify, make_key, needs_ssh_keygen, ssh_keygen

KEY, OTHER, THIRD = (identity.public_key(bytes((number,)) * 32) for number in range(3))
ADDRESS = "192.0.2.1"
NOW = 1_900_000_000.0


def outcome(text: str, key: bytes = KEY, port: int | None = None) -> Outcome:
    return Trust(KnownHosts(text.encode())).decide(ADDRESS, port, Claim(key), NOW).outcome


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ADDRESS} {key_line(KEY)}", Outcome.AUTHENTICATED),
        (f"{ADDRESS} {key_line(OTHER)}", Outcome.CHANGED),
        (f"{ADDRESS} {key_line(OTHER)}\n{ADDRESS} {key_line(KEY)}", Outcome.AUTHENTICATED),
        (f"192.0.2.2 {key_line(KEY)}", Outcome.UNKNOWN),
        ("", Outcome.UNKNOWN),
        (f"{ADDRESS} {key_line(KEY)}\n@revoked * {key_line(KEY)}", Outcome.REVOKED),
        (f"@revoked 192.0.2.2 {key_line(KEY)}", Outcome.UNKNOWN),
        (f"@cert-authority * {key_line(OTHER)}", Outcome.UNKNOWN),
        (f"@cert-authority * {key_line(KEY)}", Outcome.UNKNOWN),
    ],
)
def test_a_key(text: str, expected: Outcome) -> None:
    assert outcome(text) is expected


def test_a_port_of_its_own_goes_before_the_address() -> None:
    text = f"{ADDRESS} {key_line(KEY)}\n[{ADDRESS}]:2222 {key_line(OTHER)}"
    assert outcome(text, KEY, 2222) is Outcome.CHANGED
    assert outcome(text, OTHER, 2222) is Outcome.AUTHENTICATED
    assert outcome(text, KEY, 80) is Outcome.AUTHENTICATED
    assert outcome(text, KEY) is Outcome.AUTHENTICATED
    assert outcome(text + f"\n@revoked {ADDRESS} {key_line(OTHER)}", OTHER, 2222) is Outcome.REVOKED


def test_what_is_said_of_it() -> None:
    trust = Trust(KnownHosts(f"{ADDRESS},[{ADDRESS}]:22,web1.example {key_line(KEY)}".encode()))
    right = trust.decide(ADDRESS, None, Claim(KEY), NOW)
    assert (right.name, right.reason) == ("web1.example", "")
    wrong = trust.decide(ADDRESS, None, Claim(OTHER), NOW)
    assert not wrong.name
    assert fingerprint(KEY) in wrong.reason
    assert fingerprint(OTHER) in wrong.reason


def test_only_wrong_keys_refuse_by_themselves() -> None:
    assert {each for each in Outcome if each.is_wrong} == {Outcome.CHANGED, Outcome.REVOKED, Outcome.FORGED}


@needs_ssh_keygen
def test_a_certificate(tmp_path: Path) -> None:
    authority, host = make_key(tmp_path / "ca"), make_key(tmp_path / "host")
    lines = [(tmp_path / name).read_text().rsplit(" ", 2)[0] for name in ("ca.pub", "host.pub")]
    by_ca, own = (f"@cert-authority 192.0.2.0/24 {lines[0]}\n", f"{ADDRESS} {lines[1]}\n")
    valid = ("-V", "20300101000000Z:20310101000000Z")
    certificate = read_certificate(certify(authority, host, "-n", f"db1,{ADDRESS}", *valid))
    claim = Claim(certificate.key, certificate)

    def decide(text: str, address: str = ADDRESS, now: float = NOW) -> tuple[Outcome, str]:
        decision = Trust(KnownHosts(text.encode())).decide(address, None, claim, now)
        return decision.outcome, decision.name

    assert decide(by_ca) == (Outcome.AUTHENTICATED, "db1")
    assert decide(by_ca, now=NOW + 4e7) == (Outcome.INVALID, "")
    assert decide(by_ca, now=NOW - 4e7) == (Outcome.INVALID, "")
    assert decide(by_ca, address="192.0.2.2") == (Outcome.INVALID, "")
    assert decide(by_ca, address="198.51.100.1") == (Outcome.UNKNOWN, "")
    assert decide(own, now=NOW + 4e7) == (Outcome.AUTHENTICATED, ADDRESS)
    assert decide(f"{ADDRESS} {key_line(OTHER)}\n{by_ca}") == (Outcome.AUTHENTICATED, "db1")
    assert decide(f"{ADDRESS} {key_line(OTHER)}") == (Outcome.CHANGED, "")
    assert decide(f"{by_ca}@revoked * {lines[0]}") == (Outcome.REVOKED, "")
    assert decide(f"{by_ca}@revoked * {lines[1]}") == (Outcome.REVOKED, "")
    # The same words for a plain key say something else.
    assert decide(f"{ADDRESS} {lines[0]}") == (Outcome.CHANGED, "")


def test_first_use() -> None:
    learned = LearnedKeys()
    trust = Trust(KnownHosts(f"192.0.2.9 {key_line(KEY)}\n@revoked * {key_line(THIRD)}".encode()), learned)
    assert trust.decide(ADDRESS, None, Claim(KEY), NOW, may_learn=False).outcome is Outcome.UNKNOWN
    assert trust.decide(ADDRESS, None, Claim(THIRD), NOW).outcome is Outcome.REVOKED
    assert trust.decide("192.0.2.9", None, Claim(OTHER), NOW).outcome is Outcome.CHANGED
    assert len(learned) == 0
    assert trust.decide(ADDRESS, 443, Claim(KEY), NOW).outcome is Outcome.FIRST_USE
    assert trust.decide(ADDRESS, 443, Claim(KEY), NOW).outcome is Outcome.AUTHENTICATED
    assert trust.decide(ADDRESS, 80, Claim(OTHER), NOW).outcome is Outcome.CHANGED
    assert list(learned.items()) == [(ADDRESS, KEY)]


def test_what_is_learned_is_kept_and_bounded() -> None:
    learned = LearnedKeys(limit=2)
    assert learned.learn("192.0.2.1", KEY)
    assert learned.learn("2001:db8::1", OTHER)
    assert not learned.learn("192.0.2.3", KEY)
    again = LearnedKeys(learned.text())
    assert list(again.items()) == [("192.0.2.1", KEY), ("2001:db8::1", OTHER)]
    assert again.malformed == []
    assert again.learn("192.0.2.1", OTHER)
    assert again.key_of("192.0.2.1") == KEY
    decision = Trust(KnownHosts(), LearnedKeys(limit=0)).decide(ADDRESS, None, Claim(KEY), NOW)
    assert decision.outcome is Outcome.UNKNOWN


@needs_ssh_keygen
def test_ssh_keygen_finds_and_removes_what_was_learned(tmp_path: Path) -> None:
    path = tmp_path / "learned"
    path.write_bytes(LearnedKeys(f"{ADDRESS} {key_line(KEY)}\n192.0.2.2 {key_line(OTHER)}".encode()).text())
    assert fingerprint(KEY) in ssh_keygen("-l", "-F", ADDRESS, "-f", path)
    ssh_keygen("-R", ADDRESS, "-f", path)
    assert list(LearnedKeys(path.read_bytes()).items()) == [("192.0.2.2", OTHER)]


def test_a_bare_key_is_not_believed_at_first_use_where_an_authority_vouches() -> None:
    """Whoever takes the certificate away would be believed from then on."""
    listed = KnownHosts(f"@cert-authority 192.0.2.0/24 {key_line(OTHER)}".encode())
    learned = LearnedKeys()
    assert Trust(listed, learned).decide(ADDRESS, None, Claim(KEY), NOW).outcome is Outcome.UNKNOWN
    assert len(learned) == 0
    # Nor one that was remembered before the authority was listed.
    learned.learn(ADDRESS, KEY)
    decision = Trust(listed, learned).decide(ADDRESS, None, Claim(KEY), NOW)
    assert (decision.outcome, "certificate" in decision.reason) == (Outcome.UNKNOWN, True)
    assert Trust(listed, learned).decide("198.51.100.1", None, Claim(KEY), NOW).outcome is Outcome.FIRST_USE
