"""Scripts that reached something new, one in each file, in a folder for each protocol."""

import hashlib
from pathlib import Path

_FOLDER = Path(__file__).parent


def load(protocol: str) -> list[bytes]:
    """The scripts of a protocol, in the order of their names."""
    return [path.read_bytes() for path in sorted((_FOLDER / protocol).glob("*.bin"))]


def save(folder: Path, script: bytes) -> Path:
    """Writes a script under a name that follows from it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(script).hexdigest()[:16]}.bin"
    path.write_bytes(script)
    return path
