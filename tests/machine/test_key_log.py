"""What a key log of either host opens, in a capture of simulated connections."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import pytest
from scapy.layers.inet import IP
from scapy.utils import wrpcap

from tcpcryptd.core.config import EngineConfig
from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.engine import Engine
from tcpcryptd.core.options import ConnectionOptions
from tcpcryptd.crypt import CryptConfig, CryptFactory
from tcpcryptd.crypt.constants import Opcode
from tcpcryptd.crypto.frame_aead import AES_128_GCM, CHACHA20_POLY1305, FrameAead
from tcpcryptd.crypto.key_log import CRYPT, ENO, KeyLogEntry
from tcpcryptd.crypto.keyring import KeyRing
from tcpcryptd.crypto.rsa_oaep import RsaOaep
from tcpcryptd.crypto.suites import AES128_CTR_SEQIV_HMAC_SHA1, AES_256_GCM_SIV, SymmetricSuite
from tcpcryptd.dissect import read_capture
from tcpcryptd.eno import EnoConfig, EnoFactory
from tcpcryptd.pcap import Chunk, ConnectionTable, Finder, KeyBook, Kind
from tcpcryptd.pcap.report import describe
from tests.machine.endpoint import Behaviour
from tests.machine.identities import authenticator
from tests.machine.link import Conditions, Filter, drop
from tests.machine.test_crypt_post_quantum import is_large
from tests.machine.world import MARKER, PORT, World, rsa_key

OFTEN = 20_000
"""Bytes under one key, for tests that cannot wait for the real number."""


@dataclass
class Logged:
    """A world whose daemons both keep a key log."""

    protocol: str
    suite: SymmetricSuite = AES_256_GCM_SIV
    aead: FrameAead = AES_128_GCM
    conditions: Conditions = field(default_factory=Conditions)
    filters: tuple[Filter, ...] = ()
    identities: bool = False

    def __post_init__(self) -> None:
        self.logs: dict[str, list[KeyLogEntry]] = {"client": [], "server": []}
        self.world = World(
            client=self._engine("client"),
            server=self._engine("server"),
            conditions=self.conditions,
            filters=self.filters,
            seed=7,
        )

    def _engine(self, name: str) -> Engine:
        ring = KeyRing(RsaOaep())
        ring.replace(rsa_key())
        suites, aeads = (replace(self.suite, rekey_bytes=OFTEN),), (replace(self.aead, rekey_bytes=OFTEN),)
        proving = authenticator(name) if self.identities else None
        crypt = CryptConfig(ring, symmetric_suites=suites, key_log=self.logs[name].append, authenticator=proving)
        eno = EnoConfig(aeads=aeads, key_log=self.logs[name].append, authenticator=proving)
        return Engine(
            EngineConfig(offers=(self.protocol,)), [CryptFactory(crypt), EnoFactory(eno)], random=Random(name).randbytes
        )

    def talk(self, port: int, size: int = 100_000) -> None:
        client, server = self.world.connect(port=port)
        self.world.exchange(client, server, size)
        self.world.close(client, server)

    def read(self, directory: Path, name: str) -> tuple[ConnectionTable, list[Chunk]]:
        """The capture, opened with the key log of one host."""
        file = directory / f"{name}.pcap"
        wrpcap(str(file), [IP(crossing.packet) for crossing in self.world.link.log])
        table = ConnectionTable(KeyBook(entry.line() for entry in self.logs[name]))
        return table, [chunk for captured in read_capture(str(file)) for chunk in table.add(captured)]


def deciphered(chunks: list[Chunk], connection: int, *, from_opener: bool) -> bytes:
    """One direction's plaintext."""
    data: dict[int, int] = {}
    for chunk in chunks:
        if (chunk.connection, chunk.from_opener, chunk.kind) == (connection, from_opener, Kind.DECIPHERED):
            data.update(enumerate(chunk.data, chunk.offset))
    first = min(data)
    assert sorted(data) == list(range(first, first + len(data)))
    return bytes(data[at] for at in sorted(data))


@pytest.mark.parametrize("name", ["client", "server"])
@pytest.mark.parametrize(
    "logged",
    [
        pytest.param(lambda: Logged(CRYPT), id="gcm-siv"),
        pytest.param(lambda: Logged(CRYPT, AES128_CTR_SEQIV_HMAC_SHA1), id="seqiv"),
        pytest.param(lambda: Logged(ENO), id="eno"),
        pytest.param(lambda: Logged(CRYPT, identities=True), id="crypt-identities"),
        pytest.param(lambda: Logged(ENO, identities=True), id="eno-identities"),
        pytest.param(lambda: Logged(ENO, aead=CHACHA20_POLY1305), id="eno-chacha"),
        pytest.param(lambda: Logged(ENO, conditions=Conditions(loss=0.02, reordering=0.05)), id="eno-loss"),
        pytest.param(lambda: Logged(CRYPT, conditions=Conditions(loss=0.02, reordering=0.05)), id="crypt-loss"),
    ],
)
def test_new_and_resumed_connections_through_changes_of_keys(logged: object, name: str, tmp_path: Path) -> None:
    assert callable(logged)
    run: Logged = logged()
    run.talk(40_000)
    run.talk(40_001)
    assert [entry.generation for entry in run.logs[name]].count(0) == 2
    assert max(entry.generation for entry in run.logs[name]) >= 3
    table, chunks = run.read(tmp_path, name)
    assert [connection.is_encrypted for connection in table.connections] == [True, True]
    for connection in table.connections:
        assert connection.protocol == run.protocol
        assert sum(side.failures for side in connection.sides) == 0
        assert all(side.authentic for side in connection.sides)
        assert not any(side.bytes[Kind.PLAIN] for side in connection.sides)
        assert deciphered(chunks, connection.number, from_opener=True).startswith(b"request " + MARKER)
        assert len(deciphered(chunks, connection.number, from_opener=True)) == 100_008
        assert deciphered(chunks, connection.number, from_opener=False).startswith(b"response " + MARKER)
        assert len(deciphered(chunks, connection.number, from_opener=False)) == 100_009
    finder = Finder(MARKER)
    kinds = {match.chunk.kind for chunk in chunks for match in finder.feed(chunk)}
    assert kinds == {Kind.DECIPHERED}
    handshakes = [sum(side.bytes[Kind.HANDSHAKE] for side in connection.sides) for connection in table.connections]
    assert handshakes[0] > 0
    assert handshakes[1] == 0


def test_init_messages_of_several_segments(tmp_path: Path) -> None:
    """They are shown when they are whole, and what follows is deciphered."""
    run = Logged(ENO)
    run.world.server.stack.listen(PORT, Behaviour(mss=400))
    client, server = run.world.connect(behaviour=Behaviour(mss=400))
    run.world.exchange(client, server, 5000)
    run.world.close(client, server)
    table, chunks = run.read(tmp_path, "server")
    (connection,) = table.connections
    shown = [text for _, _, text in connection.events]
    assert "ENO Curve25519, Curve448, P-256, P-521, MLKEM768-X25519" in shown[0]
    messages = [text for text in shown if text.startswith("Init")]
    assert [text[:5] for text in messages] == ["Init1", "Init2"]
    assert " public key of 1216 bytes " in messages[0]
    assert " ciphertext of 1120 bytes " in messages[1]
    assert " extensions of 0 bytes " in messages[1]
    assert [side.bytes[Kind.HANDSHAKE] for side in connection.sides] == [1261, 1164]
    assert deciphered(chunks, connection.number, from_opener=True).startswith(b"request " + MARKER)


@pytest.mark.parametrize("name", ["client", "server"])
def test_the_last_of_two_answers_counts(name: str, tmp_path: Path) -> None:
    """INIT2 that fills a packet does not come through; the server has answered twice then."""
    run = Logged(CRYPT, filters=(drop(is_large(Opcode.INIT2)),))
    run.talk(40_000, 1_000)
    assert len([entry for entry in run.logs[name] if entry.generation == 0]) == (2 if name == "server" else 1)
    table, chunks = run.read(tmp_path, name)
    assert deciphered(chunks, 1, from_opener=True).startswith(b"request " + MARKER)
    (connection,) = table.connections
    assert not connection.post_quantum
    assert sum(side.failures for side in connection.sides) == 0


@pytest.mark.parametrize("protocol", [CRYPT, ENO])
def test_what_kind_of_keys_a_connection_has(protocol: str, tmp_path: Path) -> None:
    run = Logged(protocol)
    run.talk(40_000, 1_000)
    table, _ = run.read(tmp_path, "client")
    lines = [line for connection in table.connections for line in describe(connection)]
    assert lines[0].endswith(f"{protocol}, encrypted, post-quantum")
    name = "MLKEM768-X25519-HPKE/9728 key of 1216 bytes" if protocol == CRYPT else "MLKEM768-X25519"
    assert any(name in line for line in lines)


def test_both_hosts_log_the_same_keys() -> None:
    for protocol in (CRYPT, ENO):
        run = Logged(protocol)
        run.talk(40_000)
        client, server = ({entry.line() for entry in run.logs[name]} for name in ("client", "server"))
        generations = len(client & server)
        assert generations >= 3
        assert len(client | server) <= generations + 1
        assert len(run.logs["client"]) == len(client)


@pytest.mark.parametrize("protocol", [CRYPT, ENO])
def test_a_later_line_opens_from_its_generation_on(protocol: str, tmp_path: Path) -> None:
    run = Logged(protocol)
    run.talk(40_000)
    run.logs["client"] = [entry for entry in run.logs["client"] if entry.generation >= 2]
    table, chunks = run.read(tmp_path, "client")
    (connection,) = table.connections
    finder = Finder(b"request ")
    assert not [match for chunk in chunks for match in finder.feed(chunk)]
    assert all(0 < side.bytes[Kind.DECIPHERED] < 90_000 for side in connection.sides)


def test_without_keys_nothing_is_deciphered(tmp_path: Path) -> None:
    run = Logged(ENO)
    run.talk(40_000)
    run.logs["client"].clear()
    table, chunks = run.read(tmp_path, "client")
    (connection,) = table.connections
    assert {chunk.kind for chunk in chunks} == {Kind.HANDSHAKE, Kind.CIPHERTEXT}
    assert [side.frames.generation >= 3 for side in connection.sides] == [True, True]
    assert connection.entry is None


def test_a_wrong_key_opens_nothing(tmp_path: Path) -> None:
    for protocol in (CRYPT, ENO):
        run = Logged(protocol)
        run.talk(40_000, 5_000)
        run.logs["client"] = [replace(entry, master=bytes(len(entry.master))) for entry in run.logs["client"]]
        table, chunks = run.read(tmp_path, "client")
        (connection,) = table.connections
        assert not any(chunk.kind is Kind.DECIPHERED for chunk in chunks)
        assert all(side.failures and not side.authentic for side in connection.sides)


@pytest.mark.parametrize("protocol", [CRYPT, ENO])
def test_damaged_packets_raise_nothing(protocol: str, tmp_path: Path) -> None:
    run = Logged(protocol)
    run.talk(40_000, 5_000)
    random, damaged = Random(3), []
    handshake, rest = run.world.link.log[:4], run.world.link.log[4:]
    damaged += [IP(crossing.packet) for crossing in handshake]
    for crossing in rest:
        for _ in range(4):
            packet = bytearray(crossing.packet)
            for _ in range(random.choice((1, 1, 3))):
                packet[random.randrange(20, len(packet))] = random.randrange(256)
            damaged.append(IP(bytes(packet)))
    wrpcap(str(tmp_path / "damaged.pcap"), damaged)
    table = ConnectionTable(KeyBook(entry.line() for entry in run.logs["client"]))
    chunks = [chunk for captured in read_capture(str(tmp_path / "damaged.pcap")) for chunk in table.add(captured)]
    assert Kind.CIPHERTEXT in {chunk.kind for chunk in chunks}
    assert all(line for connection in table.connections for line in describe(connection))


@pytest.mark.parametrize("name", ["client", "server"])
def test_both_hosts_open_the_connection_at_once(name: str, tmp_path: Path) -> None:
    run = Logged(ENO)
    world = run.world
    world.server.daemon.set_options(ConnectionOptions(passive_role=True), Endpoint(world.server.address, 5001))
    client = world.client.stack.open(world.server.address, 5001, local_port=5000)
    server = world.server.stack.open(world.client.address, 5000, local_port=5001)
    world.exchange(client, server)
    world.close(client, server)
    table, chunks = run.read(tmp_path, name)
    (connection,) = table.connections
    assert connection.is_encrypted
    assert deciphered(chunks, 1, from_opener=True).startswith(b"request ")
    assert deciphered(chunks, 1, from_opener=False).startswith(b"response ")
    assert sum(side.failures for side in connection.sides) == 0
