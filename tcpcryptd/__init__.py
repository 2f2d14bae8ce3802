"""Opportunistic encryption of TCP connections by the tcpcrypt protocol."""

__version__ = "0.1.0"
