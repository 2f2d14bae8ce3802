"""What applications use: the socket options of tcpcrypt, and whether a connection is encrypted (docs/sockopt.md).

    from tcpcryptd import sockopt

    sockopt.setsockopt(sock, sockopt.TCP_CRYPT_SECURST, 1)
    sock.connect(("www.example.org", 80))
    print(sockopt.require(sock).fingerprint())

Everywhere `sock` is a socket, a descriptor, an asyncio transport or an asyncio stream writer.
"""

from tcpcryptd.control.errors import ControlError, ControlTimeout, DaemonNotRunning
from tcpcryptd.control.socket_option import SocketOption
from tcpcryptd.sockopt.descriptor import SocketLike
from tcpcryptd.sockopt.info import (
    Info,
    NotAuthenticated,
    NotEncrypted,
    async_info,
    async_require,
    fingerprint,
    info,
    require,
)
from tcpcryptd.sockopt.options import (
    Configuration,
    Netstat,
    PublicKey,
    async_getsockopt,
    async_setsockopt,
    getsockopt,
    setsockopt,
)

TCP_CRYPT_ENABLE = SocketOption.TCP_CRYPT_ENABLE
TCP_CRYPT_SESSID = SocketOption.TCP_CRYPT_SESSID
TCP_CRYPT_SUPPORT = SocketOption.TCP_CRYPT_SUPPORT
TCP_CRYPT_PUBKEY = SocketOption.TCP_CRYPT_PUBKEY
TCP_CRYPT_CONF = SocketOption.TCP_CRYPT_CONF
TCP_CRYPT_CACHE_FLUSH = SocketOption.TCP_CRYPT_CACHE_FLUSH
TCP_CRYPT_SECURST = SocketOption.TCP_CRYPT_SECURST
TCP_CRYPT_CMODE_DEFAULT = SocketOption.TCP_CRYPT_CMODE_DEFAULT
TCP_CRYPT_CMODE_DEFAULT_NK = SocketOption.TCP_CRYPT_CMODE_DEFAULT_NK
TCP_CRYPT_CMODE_NEVER = SocketOption.TCP_CRYPT_CMODE_NEVER
TCP_CRYPT_CMODE_NEVER_NK = SocketOption.TCP_CRYPT_CMODE_NEVER_NK
TCP_CRYPT_CMODE_ALWAYS = SocketOption.TCP_CRYPT_CMODE_ALWAYS
TCP_CRYPT_CMODE_ALWAYS_NK = SocketOption.TCP_CRYPT_CMODE_ALWAYS_NK
TCP_CRYPT_PKCONF = SocketOption.TCP_CRYPT_PKCONF
TCP_CRYPT_CCONF = SocketOption.TCP_CRYPT_CCONF
TCP_CRYPT_SCONF = SocketOption.TCP_CRYPT_SCONF
TCP_CRYPT_RESET = SocketOption.TCP_CRYPT_RESET
TCP_CRYPT_NOCACHE = SocketOption.TCP_CRYPT_NOCACHE
TCP_CRYPT_NETSTAT = SocketOption.TCP_CRYPT_NETSTAT
TCP_CRYPT_REKEY = SocketOption.TCP_CRYPT_REKEY
TCP_ENO_PASSIVE_ROLE = SocketOption.TCP_ENO_PASSIVE_ROLE

__all__ = [
    "Configuration",
    "ControlError",
    "ControlTimeout",
    "DaemonNotRunning",
    "Info",
    "Netstat",
    "NotAuthenticated",
    "NotEncrypted",
    "PublicKey",
    "SocketLike",
    "SocketOption",
    "async_getsockopt",
    "async_info",
    "async_require",
    "async_setsockopt",
    "fingerprint",
    "getsockopt",
    "info",
    "require",
    "setsockopt",
]
__all__ += list(SocketOption.__members__)
