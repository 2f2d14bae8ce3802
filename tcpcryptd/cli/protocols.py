"""The wire protocols with the suites of the settings, which can change for later connections."""

from collections.abc import Sequence

from tcpcryptd.core.protocol import ProtocolFactory
from tcpcryptd.crypt import CryptConfig, CryptFactory, algorithm_names
from tcpcryptd.eno import EnoConfig, EnoFactory
from tcpcryptd.netio.process.keygen import KeyJob


class LiveFactory:
    """A ProtocolFactory that delegates to another one."""

    def __init__(self, factory: ProtocolFactory) -> None:
        self.name = factory.name
        self.replace(factory)

    def replace(self, factory: ProtocolFactory) -> None:
        """Gives new connections to this one, which must be of the same protocol."""
        self.offer = factory.offer
        self.answer = factory.answer
        self.discards_data = factory.discards_data
        self.recognizes = factory.recognizes


class Protocols:
    """Both protocols. Key pairs stay when suites change."""

    def __init__(self, crypt: CryptConfig, eno: EnoConfig, suites: Sequence[str]) -> None:
        """`suites`: see `choose_suites`."""
        self._crypt, self._eno = crypt, eno
        self._crypt_factory = LiveFactory(CryptFactory(crypt))
        self._eno_factory = LiveFactory(EnoFactory(eno))
        self.choose_suites(suites)

    @property
    def factories(self) -> list[ProtocolFactory]:
        """What the engine is made with."""
        return [self._crypt_factory, self._eno_factory]

    def choose_suites(self, names: Sequence[str]) -> None:
        """Uses only these algorithms for new connections; if none of a kind is named, all of that kind."""
        crypt = self._crypt.restricted([name for name in names if name in algorithm_names()])
        self._crypt_factory.replace(CryptFactory(crypt))
        self._eno_factory.replace(EnoFactory(self._eno.restricted(names)))

    def key_jobs(self) -> list[KeyJob]:
        """Makes the first key pairs, in a fraction of a second; returns the jobs that make the others in a thread."""
        keys = self._crypt.rsa_keys
        keys.replace(keys.generate())
        return [KeyJob("RSA", keys.generate, keys.replace)]
