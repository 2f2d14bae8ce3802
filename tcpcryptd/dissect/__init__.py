"""Scapy layers of the CRYPT-option protocol and of TCP-ENO's option, for tests and debugging.

`python -m tcpcryptd.dissect` reads captures.
The layers build and dissect. Bytes that lack the form which the protocol gives them become `Malformed`.
"""

from tcpcryptd.dissect.element import Malformed, PublicKeySpec, SymmetricSpec
from tcpcryptd.dissect.eno import EnoGlobal, EnoOption, EnoSynOption, EnoTep, EnoTepWithData, EnoTepWithLength
from tcpcryptd.dissect.message import Init1, Init2
from tcpcryptd.dissect.option import CryptOption, MacOption, read_options
from tcpcryptd.dissect.segment import Dissection, dissect, summary
from tcpcryptd.dissect.suboption import NextKey, PublicKeyConfiguration, Rekey, Suboption, UnknownSuboption

__all__ = [
    "CryptOption",
    "Dissection",
    "EnoGlobal",
    "EnoOption",
    "EnoSynOption",
    "EnoTep",
    "EnoTepWithData",
    "EnoTepWithLength",
    "Init1",
    "Init2",
    "MacOption",
    "Malformed",
    "NextKey",
    "PublicKeyConfiguration",
    "PublicKeySpec",
    "Rekey",
    "Suboption",
    "SymmetricSpec",
    "UnknownSuboption",
    "dissect",
    "read_options",
    "summary",
]
