"""What processes tell each other of connections, as JSON."""

from dataclasses import fields
from typing import Final

from tcpcryptd.core.endpoint import Endpoint
from tcpcryptd.core.event import ConnectionInfo, ConnectionState
from tcpcryptd.core.hosts import HostInfo
from tcpcryptd.core.options import ClientMode, ConnectionOptions, Support
from tcpcryptd.core.peer_identity import Outcome, PeerIdentity
from tcpcryptd.netio.workers.channel import Json

_BYTES: Final = ("session_id", "public_key", "public_key_spec", "symmetric_spec")
_SPECS: Final = ("public_key_specs", "client_ciphers", "server_ciphers")


def encode_info(info: ConnectionInfo) -> dict[str, Json]:
    """What `decode_info` reads."""
    row = {field.name: getattr(info, field.name) for field in fields(ConnectionInfo)}
    row |= {name: row[name].hex() for name in _BYTES if row[name] is not None}
    row["state"] = info.state.name
    row["options"] = encode_options(info.options)
    if info.identity is not None:
        row["identity"] = _encode_identity(info.identity)
    return row


def decode_info(row: dict[str, Json]) -> ConnectionInfo:
    """The connection that a row of `encode_info` tells of."""
    values = row | {name: bytes.fromhex(row[name]) for name in _BYTES if row[name] is not None}
    values["local"], values["remote"] = Endpoint(*row["local"]), Endpoint(*row["remote"])
    values["state"] = ConnectionState[row["state"]]
    values["options"] = decode_options(row["options"])
    if row["identity"] is not None:
        values["identity"] = _decode_identity(row["identity"])
    return ConnectionInfo(**values)


def encode_host(info: HostInfo) -> list[Json]:
    """What `decode_host` reads."""
    return [info.address, _encode_identity(info.identity), info.last_seen]


def decode_host(row: list[Json]) -> HostInfo:
    """The host that a row of `encode_host` tells of."""
    return HostInfo(row[0], _decode_identity(row[1]), row[2])


def _encode_identity(identity: PeerIdentity) -> list[Json]:
    """Without its token."""
    return [identity.outcome.name, identity.name, identity.fingerprint, identity.reason]


def _decode_identity(row: list[Json]) -> PeerIdentity:
    outcome, *rest = row
    return PeerIdentity(Outcome[outcome], *rest)


def encode_options(options: ConnectionOptions) -> dict[str, Json]:
    """What `decode_options` reads."""
    row = {field.name: getattr(options, field.name) for field in fields(ConnectionOptions)}
    row |= {name: [spec.hex() for spec in row[name]] for name in _SPECS if row[name] is not None}
    row["support"], row["client_mode"] = int(options.support), int(options.client_mode)
    return row


def decode_options(row: dict[str, Json]) -> ConnectionOptions:
    """The options that a row of `encode_options` tells of."""
    values = row | {name: tuple(map(bytes.fromhex, row[name])) for name in _SPECS if row[name] is not None}
    values["support"], values["client_mode"] = Support(row["support"]), ClientMode(row["client_mode"])
    return ConnectionOptions(**values)
