"""The parsers of host identities: `python -m fuzz.identity --runs 1000000 --seed N`.

What comes from others, and what administrators write, ends in a typed error or is read; what is read says the same when
it is written again.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final

from tcpcryptd.crypt.handshake.messages import Init1, Init2, MessageError
from tcpcryptd.crypto.ssh_keys import (
    MAX_CERTIFICATE,
    SshKeyError,
    read_certificate,
    read_private_key,
    write_private_key,
)
from tcpcryptd.dissect import Init1 as DissectedInit1
from tcpcryptd.dissect import Init2 as DissectedInit2
from tcpcryptd.dissect import Malformed
from tcpcryptd.identity import sshsig
from tcpcryptd.identity.host_pattern import HostNames, PatternError, canonical
from tcpcryptd.identity.identification import IDENTITY
from tcpcryptd.identity.known_hosts import KnownHosts
from tcpcryptd.identity.learned import LearnedKeys
from tcpcryptd.identity.proof import HostKey, Part, Proof, ProofError, Role
from tcpcryptd.identity.public_key import decode_key, encode_key, from_base64, key_line
from tcpcryptd.wire import extension
from tcpcryptd.wire.extension import ExtensionError
from tcpcryptd.wire.reader import Reader, ReadError

_SEED: Final = bytes(range(32))
_HOST: Final = HostKey(_SEED)
_PART: Final = Part(b"eno", Role.INITIATOR, b"SYNs", _HOST.unsigned)
# Signed by ssh-keygen of OpenSSH 9.2: for the key of _SEED, an authority of its own, principals web1 and 192.0.2.1.
_CERTIFICATE: Final = bytes.fromhex(
    "000000207373682d656432353531392d636572742d763031406f70656e7373682e636f6d000000204755c3feb1a76ea7a6dc"
    "c5e94cd54ce1280091582e111babe9c204f54be53b400000002003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f"
    "1ddc8664125531b8000000000000000000000002000000066120686f7374000000150000000477656231000000093139322e"
    "302e322e310000000000000000ffffffffffffffff000000000000000000000000000000330000000b7373682d6564323535"
    "313900000020cb12a150d43e74538a91b2ed51cb5e42e2ca77d95de31f3ac5b1dae24e9c675f000000530000000b7373682d"
    "6564323535313900000040948f70388b0268055ecd0c949fd29c5970e6df4e7458cf7a3b3bda9acbfe0d0598fea0eb550456"
    "21869bdbca32e434db0cc91fb1fd969d392125bb3c8078ad07"
)


def known_hosts(data: bytes) -> None:
    """A list, and what is looked up in it."""
    hosts = KnownHosts(data)
    for name in ("192.0.2.1", "[192.0.2.1]:22", "2001:db8::1"):
        for line in hosts.find(name):
            assert line in hosts.lines
    assert all(each.reason and each.number > 0 for each in hosts.malformed)


def host_names(data: bytes) -> None:
    """The first field of a line."""
    text = data.decode("utf-8", "backslashreplace")
    with suppress(PatternError):
        names = HostNames(text)
        for name in ("192.0.2.1", canonical(text[:40])):
            assert names.match(name) in (True, False)


def learned(data: bytes) -> None:
    """A list that was kept."""
    keys = LearnedKeys(data)
    assert dict(LearnedKeys(keys.text()).items()) == dict(keys.items())


def private_key(data: bytes) -> None:
    """A private key's file."""
    with suppress(SshKeyError):
        assert read_private_key(write_private_key(read_private_key(data))) == read_private_key(data)


def certificate(data: bytes) -> None:
    """A certificate; only the one that was signed is believed."""
    with suppress(SshKeyError):
        assert read_certificate(data).encoded == data == _CERTIFICATE


def public_key(data: bytes) -> None:
    """A public key's binary form, and base64."""
    with suppress(SshKeyError):
        assert encode_key(decode_key(data)) == data
    with suppress(SshKeyError):
        from_base64(data.decode("latin-1"))


def signature(data: bytes) -> None:
    """An armored signature; only the key that has signed is believed."""
    with suppress(SshKeyError):
        assert sshsig.is_armored(data, b"message") in (None, _HOST.public)


def proof(data: bytes) -> None:
    """A proof in a message that is nothing else."""
    with suppress(ProofError):
        Proof(data).verify(Part(b"eno", Role.INITIATOR, b"SYNs", data))
        assert data == _HOST.prove(_PART)


def extensions(data: bytes) -> None:
    """A field of extensions, and nothing behind it."""
    with suppress(ExtensionError, ReadError), Reader(data) as reader:
        items = extension.read(reader, frozenset((IDENTITY,)))
        assert extension.read(Reader(extension.encode(items)), frozenset((IDENTITY,))) == items


def messages(data: bytes) -> None:
    """INIT1 and INIT2 of the CRYPT protocol; the dissectors take the same for whole."""
    # Without bytes a layer is one to be built.
    for kind, layer in ((Init1, DissectedInit1), (Init2, DissectedInit2)) if data else ():
        shown = layer(data)
        try:
            assert len(kind.decode(data).encode()) == len(data)
        except MessageError:
            assert isinstance(shown, Malformed)
        else:
            assert isinstance(shown, layer)
        assert shown.mysummary()


_KNOWN: Final = f"""\
# a comment
web1,192.0.2.1,[192.0.2.1]:2222 {key_line(_HOST.public)} comment
*.example,!192.0.2.?,10.0.0.0/8,[2001:db8::/32]:443 {key_line(_HOST.public)}
@cert-authority * {key_line(_HOST.public)}
@revoked 2001:db8::1 {key_line(_HOST.public)}
|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-rsa AAAAB3NzaC1yc2EAAAA=
""".encode()
_FIELD: Final = extension.encode({IDENTITY: _HOST.prove(_PART), 2: b"another"})
_TARGETS: Final[tuple[tuple[Callable[[bytes], None], bytes], ...]] = (
    (known_hosts, _KNOWN),
    (host_names, b"web1,192.0.2.1,[192.0.2.1]:2222,!10.0.0.0/8,[2001:db8::/32]:443,*.?"),
    (learned, LearnedKeys(b"192.0.2.1 " + key_line(_HOST.public).encode()).text()),
    (private_key, write_private_key(_SEED)),
    (certificate, _CERTIFICATE),
    (public_key, encode_key(_HOST.public)),
    (signature, sshsig.armor(_HOST.public, sshsig.sign(_SEED, b"message"))),
    (proof, _HOST.prove(_PART)),
    (extensions, _FIELD),
    (messages, Init1(bytes(8), bytes(16), b"\xf0\1\1", bytes(32), _FIELD).encode()),
    (messages, Init2(bytes(4), bytes(64), _FIELD).encode()),
)


def run(data: bytes) -> None:
    """One input; the first byte chooses the parser."""
    if data:
        _TARGETS[data[0] % len(_TARGETS)][0](data[1:])


def inputs(random: Random) -> bytes:
    """A valid input with a few changes, or nonsense."""
    number = random.randrange(len(_TARGETS))
    data = bytearray(_TARGETS[number][1])
    if random.random() < 0.1:
        data = bytearray(random.randbytes(random.randrange(200)))
    for _ in range(random.choice((0, 1, 1, 2, 5))):
        at = random.randrange(len(data) + 1)
        piece = random.choice((random.randbytes(random.randrange(4)), bytes(data[at // 2 : at // 2 + 20]), b"\xff" * 4))
        data[at : at + random.randrange(8)] = piece
    return bytes((number,)) + bytes(data[: 2 * MAX_CERTIFICATE])


def main() -> int:
    """Runs so many inputs; exit code 1, and the input, when one raises what it should not."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.identity", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    random = Random(arguments.seed)
    for _ in range(arguments.runs):
        data = inputs(random)
        try:
            run(data)
        except Exception:
            print(f"fails: bytes.fromhex({data.hex()!r})", flush=True)
            raise
    print(f"{arguments.runs} inputs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
