"""Packets that are nearly right: fields, options and payload of a real one replaced, lengths and checksums fitting."""

from typing import Any

from fuzz.choices import Choices
from fuzz.stream import block
from fuzz.target import Target
from tcpcryptd.wire import options
from tcpcryptd.wire.segment import MalformedPacket, Segment
from tcpcryptd.wire.sequence import add
from tests.machine.link import view

_STEPS = (0, 1, -1, 2, -2, 16, -16, 100, -100, 1460, -1460, 20_000, -20_000, 1 << 24, 1 << 30, 1 << 31)
_FLAGS = (0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x00, 0x01, 0x29, 0xFF, 0xC2, 0x30, 0x06, 0x03, 0x08)
_OTHER_BLOCK = block(999_999)


def mutated(choices: Choices, packet: bytes, target: Target) -> bytes:
    """A packet that differs from a real one in up to four ways."""
    if choices.below(16) == 0:
        return _damaged(choices, packet)
    for _ in range(1 + choices.below(4)):
        try:
            segment = view(packet)
            packet = segment.edited(**_change(choices, segment, target))
        except (MalformedPacket, options.OptionError):
            return packet
    return packet


def _damaged(choices: Choices, packet: bytes) -> bytes:
    """Cut, or with changed bytes and no thought for checksums."""
    if choices.below(2):
        return packet[: choices.number(2) % (len(packet) + 1)]
    changed = bytearray(packet)
    for _ in range(1 + choices.below(4)):
        changed[choices.below(min(len(packet), 120))] = choices.number()
    return bytes(changed)


def _change(choices: Choices, segment: Segment, target: Target) -> dict[str, Any]:
    kind = choices.below(12)
    if kind == 0:
        return {"flags": choices.one_of(_FLAGS)}
    if kind == 1:
        return {"flags": segment.flags ^ 1 << choices.below(8)}
    if kind <= 3:
        return {"sequence": add(segment.sequence, choices.one_of(_STEPS))}
    if kind <= 5:
        return {"acknowledgment": add(segment.acknowledgment, choices.one_of(_STEPS))}
    if kind == 6:
        return {"window": choices.number(2), "urgent": choices.number()}
    if kind <= 8:
        return {"option_area": option_area(choices, segment.option_area, target)}
    return {"payload": _payload(choices, segment.payload, target)}


def option_area(choices: Choices, area: bytes, target: Target) -> bytes:
    """Options of the protocol and others, alone, added, or in the place of what was there."""
    for _ in range(1 + choices.below(3)):
        option = choices.one_of(target.options)
        action = choices.below(4)
        if action == 0:
            area = option
        elif action == 1:
            area = option + area
        elif action == 2:
            area += option
        elif area:
            at = choices.below(len(area))
            area = area[:at] + bytes((choices.number(),)) + area[at + 1 :]
    return options.pad(area)[: options.MAX_LENGTH]


def _payload(choices: Choices, payload: bytes, target: Target) -> bytes:
    action = choices.below(6)
    if action == 0:
        return b""
    if action == 1 and target.payloads:
        return choices.one_of(target.payloads) + choices.take(choices.below(16))
    if action == 2:
        return payload[: choices.number(2) % (len(payload) + 1)]
    if action == 3:
        return payload + choices.take(choices.below(16))
    if action == 4 and payload:
        at = choices.number(2) % len(payload)
        return payload[:at] + bytes((payload[at] ^ 1 << choices.below(8),)) + payload[at + 1 :]
    return _OTHER_BLOCK * choices.below(8)
