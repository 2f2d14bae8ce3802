"""Bytes only: the TCP/IP headers, options, checksums and sequence numbers that both wire protocols share."""
