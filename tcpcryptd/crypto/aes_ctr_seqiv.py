"""AES128-CTR-SEQIV, the cipher of the original daemon (docs/crypt-option.md section 5)."""

import struct
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tcpcryptd.crypto.segment import MAX_PAYLOAD_LENGTH, PayloadTooLong

KEY_LENGTH = 16

_BLOCK = 16
# The reference adds the block number in the wrong byte order.
_STEP_BITS = 24
# A payload that starts at the last byte of a block touches one block more than its length needs.
_MAX_BLOCKS = (MAX_PAYLOAD_LENGTH + _BLOCK - 1 + _BLOCK - 1) // _BLOCK
_pack_base = struct.Struct("<Q").pack_into


class _Views(NamedTuple):
    """The parts of the workspace that a keystream of some number of blocks uses."""

    steps: npt.NDArray[np.uint64]
    counters: npt.NDArray[np.uint64]
    counter_blocks: memoryview
    keystream: npt.NDArray[np.uint64]
    text: npt.NDArray[np.uint64]


class _Workspace:
    """Buffers that all ciphers of the process take turns to use; allocating them per segment costs more than AES."""

    def __init__(self) -> None:
        self._steps = np.arange(_MAX_BLOCKS, dtype="<u8") * np.uint64(1 << _STEP_BITS)
        self._counters = np.zeros((_MAX_BLOCKS, 2), dtype="<u8")
        self._views: dict[int, _Views] = {}
        self.base: Final = bytearray(8)
        # Of no dimension: adding an array of one element takes three times as long.
        self.base_array: Final = np.frombuffer(self.base, dtype="<u8").reshape(())
        # update_into() wants room for one block less a byte beyond what it writes.
        self.keystream: Final = bytearray(_BLOCK * _MAX_BLOCKS + _BLOCK)
        self.text: Final = memoryview(bytearray(_BLOCK * _MAX_BLOCKS))

    def views(self, blocks: int) -> _Views:
        """Return the views for a number of blocks; at most _MAX_BLOCKS of them are kept."""
        views = self._views.get(blocks)
        if views is None:
            length = _BLOCK * blocks
            views = self._views[blocks] = _Views(
                self._steps[:blocks],
                self._counters[:blocks, 1],
                self._counters.data.cast("B")[:length],
                np.frombuffer(self.keystream, dtype="<u8")[: length // 8],
                np.frombuffer(self.text, dtype="<u8")[: length // 8],
            )
        return views


_workspace: Final = _Workspace()


class AesCtrSeqIv:
    """The keystream of one key of 16 bytes.

    Keystream block i of a segment is AES(key, 8 zero bytes | little-endian 64-bit (base + i * 2^24)), base being the
    sequence number rounded down to a multiple of 16. Blocks of segments 2^24 bytes apart are the same: a key must
    not see more sequence space than that.
    """

    __slots__ = ("_encrypt_into",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_LENGTH:
            raise ValueError(f"AES-128 key of {len(key)} bytes")
        # Single blocks of a counter: ECB is the block cipher itself here.
        self._encrypt_into = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update_into  # noqa: S305

    def apply(self, sequence: int, data: bytes) -> bytes:
        """Encipher or decipher data, which starts at the wire sequence number (64 bits).

        Raises:
            PayloadTooLong: data has more than 65535 bytes.
        """
        length = len(data)
        if not length:
            return b""
        if length > MAX_PAYLOAD_LENGTH:
            raise PayloadTooLong(f"payload of {length} bytes")
        workspace = _workspace
        skip = sequence & 15
        end = skip + length
        steps, counters, counter_blocks, keystream, text = workspace.views((end + 15) >> 4)
        _pack_base(workspace.base, 0, sequence - skip)
        np.add(steps, workspace.base_array, counters)
        self._encrypt_into(counter_blocks, workspace.keystream)
        buffer = workspace.text
        buffer[skip:end] = data
        np.bitwise_xor(keystream, text, text)
        return bytes(buffer[skip:end])
