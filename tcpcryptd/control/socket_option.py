"""The socket options of tcpcrypt, as they stand in messages (by name) and in `tcpcryptd.sockopt`."""

import enum

PUBLIC_KEY_SPEC_SIZE = 3
SYMMETRIC_SPEC_SIZE = 4
"""Bytes (docs/crypt-option.md section 2)."""
TEP_SIZE = 1
EXPERIMENT_SIZE = 2
CIPHER_SIZE = 2
"""Bytes of the same in TCP-ENO: a TEP identifier (RFC 8548 section 7, Table 4), TEP 0x20 with its key agreement
(docs/eno.md), and sym_cipher (Table 5)."""
MAX_SPECS = 16
"""In one list that an application sets."""


class SocketOption(enum.IntEnum):
    """Numbers are the original library's where it has the option, else ours."""

    TCP_CRYPT_ENABLE = 0
    TCP_CRYPT_SESSID = 2
    TCP_CRYPT_SUPPORT = 15
    """TCP_CRYPT_APP_SUPPORT in the original library."""
    TCP_CRYPT_PUBKEY = 16
    TCP_CRYPT_CONF = 17
    TCP_CRYPT_CACHE_FLUSH = 18
    TCP_CRYPT_SECURST = 19
    TCP_CRYPT_CMODE_DEFAULT = 20
    TCP_CRYPT_CMODE_DEFAULT_NK = 21
    TCP_CRYPT_CMODE_NEVER = 22
    TCP_CRYPT_CMODE_NEVER_NK = 23
    TCP_CRYPT_CMODE_ALWAYS = 24
    TCP_CRYPT_CMODE_ALWAYS_NK = 25
    TCP_CRYPT_PKCONF = 26
    TCP_CRYPT_CCONF = 27
    TCP_CRYPT_SCONF = 28
    TCP_CRYPT_RESET = 100
    TCP_CRYPT_NOCACHE = 101
    TCP_CRYPT_NETSTAT = 102
    TCP_CRYPT_REKEY = 103
    """Not in the original documents: new keys at once."""
    TCP_ENO_PASSIVE_ROLE = 104
    """Bit b of TCP-ENO's global suboption (RFC 8547 section 4.2)."""


SPEC_SIZES = {
    SocketOption.TCP_CRYPT_PKCONF: (PUBLIC_KEY_SPEC_SIZE, TEP_SIZE, EXPERIMENT_SIZE),
    SocketOption.TCP_CRYPT_CCONF: (SYMMETRIC_SPEC_SIZE, CIPHER_SIZE),
    SocketOption.TCP_CRYPT_SCONF: (SYMMETRIC_SPEC_SIZE, CIPHER_SIZE),
}
"""The options whose value is a list of specs, and the sizes of one in bytes: in the CRYPT protocol and in TCP-ENO."""
