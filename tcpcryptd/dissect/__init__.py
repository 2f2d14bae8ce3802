"""Scapy layers of the CRYPT-option protocol, and of TCP-ENO with tcpcrypt, for tests and debugging.

`python -m tcpcryptd.dissect` reads captures.
The layers build and dissect. Bytes that lack the form which the protocol gives them become `Malformed`.
"""

from tcpcryptd.dissect.capture import Captured, read_capture
from tcpcryptd.dissect.capture_file import CaptureError, CaptureFile
from tcpcryptd.dissect.element import Malformed, PublicKeySpec, SymmetricSpec
from tcpcryptd.dissect.eno import EnoGlobal, EnoOption, EnoSynOption, EnoTep, EnoTepWithData, EnoTepWithLength
from tcpcryptd.dissect.extension import proof_of
from tcpcryptd.dissect.message import Init1, Init2
from tcpcryptd.dissect.option import CryptOption, MacOption, read_options
from tcpcryptd.dissect.segment import Dissection, dissect, init_message, summary
from tcpcryptd.dissect.suboption import NextKey, PublicKeyConfiguration, Rekey, Suboption, UnknownSuboption
from tcpcryptd.dissect.tcpcrypt import Frame, FramePlaintext, TcpcryptInit1, TcpcryptInit2

__all__ = [
    "CaptureError",
    "CaptureFile",
    "Captured",
    "CryptOption",
    "Dissection",
    "EnoGlobal",
    "EnoOption",
    "EnoSynOption",
    "EnoTep",
    "EnoTepWithData",
    "EnoTepWithLength",
    "Frame",
    "FramePlaintext",
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
    "TcpcryptInit1",
    "TcpcryptInit2",
    "UnknownSuboption",
    "dissect",
    "init_message",
    "proof_of",
    "read_capture",
    "read_options",
    "summary",
]
