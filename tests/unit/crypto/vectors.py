"""The recorded connections of tests/vectors/crypt-option/vectors.json, in bytes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[2] / "vectors" / "crypt-option" / "vectors.json"


@dataclass(frozen=True)
class Segment:
    """One authenticated segment: M, A, O, both HMACs, the MAC and the payload twice."""

    from_client: bool
    sequence: int
    header: bytes
    acknowledgment: bytes
    options: bytes
    hmac_header: bytes
    hmac_acknowledgment: bytes
    tag: bytes
    plaintext: bytes
    ciphertext: bytes
    counter_blocks: bytes
    keystream: bytes


def load_connections() -> list[dict[str, Any]]:
    connections: list[dict[str, Any]] = json.loads(PATH.read_text())["connections"]
    return connections


def segments(connection: dict[str, Any]) -> list[Segment]:
    return [_segment(packet) for packet in connection["packets"]]


def _segment(packet: dict[str, Any]) -> Segment:
    mac_option = bytes.fromhex(packet["mac_option"])
    # What enters the MAC besides M is O, if there is any, and the enciphered payload.
    maced = b"".join(bytes.fromhex(part) for part in packet["maced_iovs"])
    ciphertext = bytes.fromhex(packet["payload_cipher"])
    return Segment(
        from_client=packet["dir"] == "c2s",
        sequence=packet["seq"],
        header=bytes.fromhex(packet["M"]),
        acknowledgment=bytes.fromhex(packet["A"]),
        options=maced.removesuffix(ciphertext),
        hmac_header=bytes.fromhex(packet["hmac_M"]),
        hmac_acknowledgment=bytes.fromhex(packet["hmac_A"]),
        tag=mac_option[2:],
        plaintext=bytes.fromhex(packet["payload_plain"]),
        ciphertext=ciphertext,
        counter_blocks=bytes.fromhex(packet.get("ctr_blocks", "")),
        keystream=bytes.fromhex(packet.get("keystream", "")),
    )
