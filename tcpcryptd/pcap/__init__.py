"""Whole connections in a capture: their handshakes, what of their payload is ciphertext, and what a key log opens.

`tcpcrypt-pcap` is its command. Like `dissect` it is for looking, and has no part in the daemon: it has its own way
through the protocols, so that a mistake of the daemon's does not hide itself.
"""

from tcpcryptd.pcap.chunk import Chunk, Kind
from tcpcryptd.pcap.connection import Connection
from tcpcryptd.pcap.finder import MAX_MATCHES, Finder, Match
from tcpcryptd.pcap.keys import KeyBook
from tcpcryptd.pcap.table import ConnectionTable

__all__ = ["MAX_MATCHES", "Chunk", "Connection", "ConnectionTable", "Finder", "KeyBook", "Kind", "Match"]
