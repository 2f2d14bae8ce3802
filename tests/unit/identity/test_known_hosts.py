import re
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.crypto import identity
from tcpcryptd.identity import host_pattern, known_hosts
from tcpcryptd.identity.host_pattern import canonical, matches, spelled
from tcpcryptd.identity.known_hosts import KnownHosts, Marker
from tcpcryptd.identity.public_key import encode_key, fingerprint, key_line
from tests.unit.identity.openssh import needs_ssh_keygen, ssh_keygen

KEYS = [identity.public_key(bytes((number,)) * 32) for number in range(4)]
LINE = key_line(KEYS[0])
RSA = b64encode(b"\0\0\0\x07ssh-rsa" + bytes(20)).decode()


def read(text: str) -> KnownHosts:
    return KnownHosts(text.encode())


@pytest.mark.parametrize(
    ("names", "address", "port", "found"),
    [
        ("192.0.2.1", "192.0.2.1", None, True),
        ("192.0.2.1", "192.0.2.10", None, False),
        ("web1,192.0.2.1", "192.0.2.1", None, True),
        ("192.0.2.1", "192.0.2.1", 2222, False),
        ("[192.0.2.1]:2222", "192.0.2.1", 2222, True),
        ("[192.0.2.1]:2222", "192.0.2.1", 22, False),
        ("[192.0.2.1]:2222", "192.0.2.1", None, False),
        ("2001:DB8:0:0::1", "2001:db8::1", None, True),
        ("[2001:db8::1]:443", "2001:db8::1", 443, True),
        ("192.0.2.*", "192.0.2.77", None, True),
        ("192.0.2.?", "192.0.2.77", None, False),
        ("192.0.2.*,!192.0.2.7", "192.0.2.7", None, False),
        ("!192.0.2.7,192.0.2.*", "192.0.2.8", None, True),
        ("!192.0.2.7", "192.0.2.8", None, False),
        ("192.0.2.0/24", "192.0.2.77", None, True),
        ("192.0.2.0/24", "192.0.3.77", None, False),
        ("192.0.2.0/24,!192.0.2.64/26", "192.0.2.77", None, False),
        ("2001:db8::/32", "2001:db8:1::7", None, True),
        ("2001:db8::/32", "192.0.2.1", None, False),
        ("192.0.2.0/24", "192.0.2.77", 443, False),
        ("[192.0.2.0/24]:443", "192.0.2.77", 443, True),
        ("[192.0.2.0/24]:443", "192.0.2.77", None, False),
        ("*", "192.0.2.1", 443, True),
    ],
)
def test_which_hosts_a_line_is_about(names: str, address: str, port: int | None, found: bool) -> None:
    hosts = read(f"{names} {LINE} comment\n")
    assert not hosts.malformed
    assert bool(hosts.find(spelled(address, port))) is found


def test_markers_comments_and_other_keys() -> None:
    hosts = read(f"""
# a comment
   # another
192.0.2.1 {LINE}
192.0.2.1 ssh-rsa {RSA} of no use here
@revoked\t192.0.2.1 {key_line(KEYS[1])}
@cert-authority *,!192.0.2.9 {key_line(KEYS[2])} fleet\r
""")
    assert hosts.malformed == []
    assert [(line.number, line.marker, line.key) for line in hosts.find("192.0.2.1")] == [
        (4, Marker.KEY, KEYS[0]),
        (6, Marker.REVOKED, KEYS[1]),
        (7, Marker.AUTHORITY, KEYS[2]),
    ]
    assert list(hosts.find("192.0.2.9")) == []


MALFORMED = [
    "192.0.2.1",
    "192.0.2.1 ssh-ed25519",
    "192.0.2.1 # no key",
    f"192.0.2.1 ssh-ed25519 {RSA}",
    f"192.0.2.1 ssh-rsa {b64encode(encode_key(KEYS[0])).decode()}",
    f"192.0.2.1 ssh-ed25519 {b64encode(encode_key(KEYS[0])[:-1]).decode()}",
    f"192.0.2.1 ssh-ed25519 {b64encode(encode_key(KEYS[0])).decode()}*",
    f"192.0.2.1 ssh-foo {RSA}",
    f"@unknown 192.0.2.1 {LINE}",
    f"@revoked @cert-authority 192.0.2.1 {LINE}",
    "@revoked",
    f"@revoked192.0.2.1 {LINE}",
    f"|1|AAAA {LINE}",
    f"|2|aaaaaaaaaaaaaaaaaaaaaaaaaaa=|aaaaaaaaaaaaaaaaaaaaaaaaaaa= {LINE}",
    f"192.0.2.1/24 {LINE}",
    f"192.0.2.0/33,192.0.2.1 {LINE}",
]


@pytest.mark.parametrize("line", MALFORMED)
def test_a_malformed_line_is_named_and_ignored(line: str) -> None:
    hosts = read(f"192.0.2.2 {LINE}\n{line}\n192.0.2.3 {LINE}\n")
    assert [each.number for each in hosts.malformed] == [2]
    assert hosts.malformed[0].reason
    assert [line.number for line in hosts.lines] == [1, 3]


@needs_ssh_keygen
@pytest.mark.parametrize("line", [line for line in MALFORMED if "/" not in line.split()[0]])
def test_openssh_ignores_the_malformed_lines_too(tmp_path: Path, line: str) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"{line}\n192.0.2.2 {LINE}\n")
    ssh_keygen("-l", "-F", "192.0.2.1", "-f", path, succeeds=False)
    assert fingerprint(KEYS[0]) in ssh_keygen("-l", "-F", "192.0.2.2", "-f", path)


addresses = st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.12", "198.51.100.1", "2001:db8::1", "2001:db8::2"])
names = st.sampled_from(
    [
        "192.0.2.1",
        "192.0.2.?",
        "192.0.2.*",
        "!192.0.2.1",
        "!192.0.2.1?",
        "*",
        "web1",
        "2001:db8::*",
        "!2001:db8::2",
        "[192.0.2.1]:2222",
        "[192.0.2.*]:*",
        "198.51.100.1",
        "![192.0.2.2]:2222",
    ]
)
fields = st.lists(names, min_size=1, max_size=4).map(",".join)


@needs_ssh_keygen
@given(
    lines=st.lists(fields, max_size=6), hashed=st.lists(addresses, max_size=3), address=addresses, port=st.booleans()
)
def test_the_same_lines_are_found_as_by_ssh_keygen(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], hashed: list[str], address: str, port: bool
) -> None:
    """Wildcards, negation, ports, hashed names."""
    path = tmp_path_factory.mktemp("known") / "known_hosts"
    path.write_text("".join(f"{name} {LINE}\n" for name in hashed))
    if hashed:
        ssh_keygen("-q", "-H", "-f", path)
    with path.open("a") as file:
        file.writelines(f"{field} {LINE}\n" for field in lines)
    hosts = KnownHosts(path.read_bytes())
    assert not hosts.malformed
    wanted = spelled(address, 2222 if port else None)
    ours = [line.number for line in hosts.find(wanted)]
    shown = ssh_keygen("-F", wanted, "-f", path, succeeds=bool(ours))
    assert [int(number) for number in re.findall(r"found: line (\d+)", shown)] == ours


@needs_ssh_keygen
def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text("".join(f"192.0.2.1 {key_line(key)}\n" for key in KEYS))
    assert [line.split()[1] for line in ssh_keygen("-l", "-f", path).splitlines()] == list(map(fingerprint, KEYS))


@given(st.binary(max_size=400))
def test_no_text_raises_anything(text: bytes) -> None:
    for line in KnownHosts(text).malformed:
        assert line.number >= 1


@given(st.text(alphabet="*?!,./[]:|1@# \t-2ab", max_size=60), st.text(alphabet="ab1.:[]2", max_size=20))
def test_no_names_raise_anything(field: str, name: str) -> None:
    hosts = read(f"{field} {LINE}")
    hosts.find(name)
    assert len(hosts.lines) + len(hosts.malformed) <= 1


@given(st.text(alphabet="ab*?", max_size=12), st.text(alphabet="ab", max_size=12))
def test_patterns_match_as_regular_expressions_would(pattern: str, name: str) -> None:
    expected = re.fullmatch(pattern.replace("*", ".*").replace("?", "."), name) is not None
    assert matches(pattern, name) is expected


def test_a_file_is_read_so_far_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"192.0.2.1 {LINE}\n"
    monkeypatch.setattr(known_hosts, "MAX_BYTES", len(line) * 2)
    hosts = read(line * 3)
    assert len(hosts.lines) == 2
    assert [each.number for each in hosts.malformed] == [3]


def test_what_was_looked_up_is_remembered_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_hosts, "MAX_REMEMBERED", 3)
    hosts = read(f"* {LINE}")
    for number in range(10):
        assert len(hosts.find(f"192.0.2.{number}")) == 1
    assert len(hosts._remembered) == 3


def test_an_overlong_pattern_matches_nothing() -> None:
    assert list(read(f"{'*' * (host_pattern.MAX_PATTERN + 1)} {LINE}").find("192.0.2.1")) == []


def test_addresses_have_one_spelling() -> None:
    assert canonical("2001:DB8:0:0:0:0:0:1") == "2001:db8::1"
    assert canonical("[2001:DB8::0:1]:0443") == "[2001:db8::1]:443"
    assert canonical("WEB1") == "web1"
