"""The interface between a protocol and identities, this host's and its peers'."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

from tcpcryptd.core.protocol import ABSENT, Outcome, PeerIdentity
from tcpcryptd.identity.claim import Claim
from tcpcryptd.identity.proof import HostKey, Part, Proof, ProofError
from tcpcryptd.identity.public_key import fingerprint
from tcpcryptd.identity.trust import Trust

_Question = tuple[str, int | None, bytes]
"""A peer's address, the port that this host connected to, and the key that it has proved, without a certificate."""
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

MAX_REMEMBERED: Final = 1024
"""Certificates that earlier connections can be judged by, of those that are believed and of others each so many; what
is forgotten costs a key exchange, and the connection when the list of peers has changed."""


class Authenticator:
    """This host's key, if it has one, and its trust in others. Trust can be replaced while connections live."""

    def __init__(self, host_key: HostKey | None, trust: Trust, wall_clock: Callable[[], float]) -> None:
        """`wall_clock`: seconds, by which certificates are valid or not."""
        self.host_key = host_key
        self._trust = trust
        self._settled: dict[_Question, PeerIdentity] = {}
        """What the list says of keys, as long as it is the same."""
        self._wall_clock = wall_clock
        self._believed: OrderedDict[bytes, Claim] = OrderedDict()
        self._others: OrderedDict[bytes, Claim] = OrderedDict()
        """Apart, since anybody can make certificates: they push out none that is believed."""
        self._shared: OrderedDict[PeerIdentity, PeerIdentity] = OrderedDict()

    @property
    def trust(self) -> Trust:
        """What decides whom this host believes."""
        return self._trust

    @trust.setter
    def trust(self, trust: Trust) -> None:
        self._trust = trust
        self._settled.clear()

    def identify(
        self, address: str, port: int | None, encoded: bytes | None, part: Part, *, may_learn: bool
    ) -> PeerIdentity:
        """Who the sender of a message is.

        Args:
            address: The sender's, as the kernel spells it.
            port: That this host has connected to; None: the sender opened the connection.
            encoded: The proof in the message; None: there is none.
            part: The sender's, as it came.
            may_learn: Its key may be remembered at its first use.
        """
        if encoded is None:
            return ABSENT
        try:
            proof = Proof(encoded)
            proof.verify(part)
        except ProofError as error:
            return forged(error)
        return self._judge(address, port, proof.claim, may_learn=may_learn)

    def admits(self, address: str, port: int | None, encoded: bytes, *, must_authenticate: bool) -> bool:
        """Whether a peer may connect, if its proof, which is not verified here, turns out to be right."""
        try:
            claim = Proof(encoded).claim
        except ProofError:
            return False
        found = self._settled.get((address, port, claim.key)) if claim.certificate is None else None
        if found is None:
            decision = self._trust.decide(address, port, claim, self._wall_clock(), may_learn=False)
            found = PeerIdentity(decision.outcome)
        return found.suits(must_authenticate=must_authenticate)

    def recall(self, address: str, port: int | None, token: bytes) -> PeerIdentity | None:
        """The identity of a peer that proved it earlier, by the present list; None: the proof is forgotten."""
        if not token:
            return ABSENT
        claim = Claim.of_key(token) or self._believed.get(token) or self._others.get(token)
        return self._judge(address, port, claim, may_learn=False) if claim is not None else None

    def _judge(self, address: str, port: int | None, claim: Claim, *, may_learn: bool) -> PeerIdentity:
        question = (address, port, claim.key)
        if claim.certificate is None and question in self._settled:
            return self._settled[question]
        decision = self._trust.decide(address, port, claim, self._wall_clock(), may_learn=may_learn)
        if claim.certificate is not None:
            is_believed = decision.outcome is Outcome.AUTHENTICATED
            _remember(self._believed if is_believed else self._others, claim.token, claim)
        found = PeerIdentity(decision.outcome, decision.name, fingerprint(claim.key), decision.reason, claim.token)
        # One object for all connections with this peer.
        shared = self._shared.get(found, found)
        _remember(self._shared, shared, shared)
        if decision.is_settled and len(self._settled) < MAX_REMEMBERED:
            self._settled[question] = shared
        return shared


def forged(error: ValueError) -> PeerIdentity:
    """A peer whose proof is wrong."""
    return PeerIdentity(Outcome.FORGED, reason=f"the peer's proof of its identity is wrong: {error}")


def _remember(memory: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)
