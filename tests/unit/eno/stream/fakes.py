"""Key chains for tests, which see to it that no key ever seals two frames at one offset."""

from hashlib import blake2b, shake_128

from tcpcryptd.eno.stream.frame import TAG_LENGTH, Buffer


class NonceReused(AssertionError):
    """A frame was sealed where one had been sealed before."""


class FakeProtection:
    def __init__(self, key: bytes, used: set[int]) -> None:
        self._key = key
        self._used = used

    def rest(self) -> None:
        pass

    def _cipher(self, offset: int, text: Buffer) -> bytes:
        stream = shake_128(b"%s %d" % (self._key, offset)).digest(len(text))
        return (int.from_bytes(text, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(text), "big")

    def _tag(self, offset: int, header: Buffer, plaintext: Buffer) -> bytes:
        return blake2b(
            b"%d %b %b" % (offset, bytes(header), bytes(plaintext)), key=self._key, digest_size=TAG_LENGTH
        ).digest()

    def seal(self, offset: int, header: Buffer, plaintext: Buffer) -> bytes:
        if offset in self._used:
            raise NonceReused(f"{self._key!r} at {offset}")
        self._used.add(offset)
        return self._cipher(offset, plaintext) + self._tag(offset, header, plaintext)

    def seal_into(self, offset: int, header: Buffer, plaintext: Buffer, place: memoryview) -> None:
        place[:] = self.seal(offset, header, plaintext)

    def open(self, offset: int, header: Buffer, ciphertext: Buffer) -> bytes | None:
        plaintext = self._cipher(offset, memoryview(ciphertext)[:-TAG_LENGTH])
        tag = bytes(memoryview(ciphertext)[-TAG_LENGTH:])
        return plaintext if tag == self._tag(offset, header, plaintext) else None


class FakeKeys:
    """A key chain; both ends of a direction share one."""

    def __init__(self, name: str = "k") -> None:
        self._name = name
        self._used: dict[int, set[int]] = {}
        self.asked: list[int] = []

    def __call__(self, generation: int) -> FakeProtection:
        self.asked.append(generation)
        return FakeProtection(f"{self._name}{generation}".encode(), self._used.setdefault(generation, set()))
