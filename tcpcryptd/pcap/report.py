"""Connections as text."""

from collections.abc import Iterator

from tcpcryptd.pcap.chunk import Chunk, Kind
from tcpcryptd.pcap.connection import Connection
from tcpcryptd.pcap.finder import Match
from tcpcryptd.pcap.side import Side

_ON_THE_WIRE = (Kind.HANDSHAKE, Kind.CIPHERTEXT, Kind.PLAIN, Kind.UNKNOWN)


def describe(connection: Connection) -> Iterator[str]:
    """The lines about a connection."""
    yield f"{connection.number}  {connection.opener} > {connection.answerer}  {_state(connection)}"
    for time, from_opener, text in connection.events:
        yield f"   {time:10.6f} {_arrow(from_opener)} {text}"
    if connection.more_events:
        yield f"   {'':10}   and {connection.more_events} more"
    for side in connection.sides:
        yield f"   {'':10} {_arrow(side is connection.sides[0])} {_amounts(side)}"
    if connection.entry is not None:
        yield from _deciphered(connection)
    yield from (f"   {'':10} ! {warning}" for warning in _warnings(connection))


def describe_match(match: Match) -> str:
    """One line for a place where the text stands, or for all from there on."""
    place = f"{_place(match.chunk)} byte {match.offset}"
    return f"not listed: more from {place} on" if match.is_beyond else f"found in {place}"


def describe_chunk(chunk: Chunk) -> str:
    """One line with a piece of plaintext; what is no printable ASCII is escaped, as in a Python bytes literal."""
    return f"{_place(chunk)} byte {chunk.offset}: {chunk.data!r}"


def _place(chunk: Chunk) -> str:
    return (
        f"{chunk.kind}, connection {chunk.connection} {_arrow(chunk.from_opener)} "
        f"packet {chunk.packet} at {chunk.time:.6f}"
    )


def _arrow(from_opener: bool) -> str:
    return ">" if from_opener else "<"


def _state(connection: Connection) -> str:
    if connection.is_encrypted:
        return f"{connection.protocol}, encrypted" + (", post-quantum" if connection.post_quantum else "")
    if connection.protocol is not None:
        return f"{connection.protocol} began, not encrypted"
    return "plain" if connection.has_beginning else "unknown: its beginning was not captured"


def _amounts(side: Side) -> str:
    amounts = [f"{side.bytes[kind]} {kind}" for kind in _ON_THE_WIRE if side.bytes[kind]]
    text = f"{side.segments} segments, bytes of payload: {', '.join(amounts) or 'none'}"
    if side.frames.frames:
        text += f"; {side.frames.frames} frames, {side.frames.generation + 1} generations of keys"
    return text + (f"; {side.not_captured} bytes not captured" if side.not_captured else "")


def _deciphered(connection: Connection) -> Iterator[str]:
    entry = connection.entry
    if entry is None:
        return
    yield f"   {'':10}   key log: session {entry.session_id.hex()}"
    for side in connection.sides:
        unit = "frames" if side.frames.frames else "segments"
        yield (
            f"   {'':10} {_arrow(side is connection.sides[0])} {side.bytes[Kind.DECIPHERED]} bytes deciphered, "
            f"{side.authentic} {unit} authentic, {side.failures} not"
        )


def _warnings(connection: Connection) -> Iterator[str]:
    if connection.is_encrypted and any(side.bytes[Kind.PLAIN] for side in connection.sides):
        yield "plain payload in an encrypted connection"
    for side in connection.sides:
        arrow = _arrow(side is connection.sides[0])
        if side.frames.is_broken:
            yield f"{arrow} no valid frame where one should be"
        elif side.frames.has_hole:
            yield f"{arrow} a segment is missing in the capture: the frames behind it were not read"
