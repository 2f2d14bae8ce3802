"""Who is at the other end of an encrypted connection (docs/authentication.md).

tcpcrypt by itself keeps out a passive eavesdropper, not a man in the middle: such an attacker has one session with each
side, and their session IDs differ. Here both applications prove, over the connection itself, that they hold a key and
see the same session ID.
"""

from tcpcryptd.authenticate.credentials import Credentials, Ed25519Key, PresharedKey
from tcpcryptd.authenticate.exchange import Authenticated, AuthenticationFailed, Role
from tcpcryptd.authenticate.transport import TIMEOUT, async_authenticate, authenticate
from tcpcryptd.crypto.identity import generate_private_key, public_key

__all__ = [
    "TIMEOUT",
    "Authenticated",
    "AuthenticationFailed",
    "Credentials",
    "Ed25519Key",
    "PresharedKey",
    "Role",
    "async_authenticate",
    "authenticate",
    "generate_private_key",
    "public_key",
]
