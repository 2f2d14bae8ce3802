import pytest

from tcpcryptd.core.verdict import ConnectionClass
from tests.unit.netio.packets.queue_rig import Rig


@pytest.fixture
def undecided(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch, ConnectionClass.UNDECIDED)


@pytest.fixture
def encrypted(monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(monkeypatch, ConnectionClass.ENCRYPTED)
