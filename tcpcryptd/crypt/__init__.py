"""The CRYPT-option protocol: handshake in TCP options, payloads encrypted in place, a MAC option on each segment."""

from tcpcryptd.crypt.config import CryptConfig, algorithm_names, post_quantum_names, provable_names, public_key_names
from tcpcryptd.crypt.factory import CryptFactory

__all__ = ["CryptConfig", "CryptFactory", "algorithm_names", "post_quantum_names", "provable_names", "public_key_names"]
