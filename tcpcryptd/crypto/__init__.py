"""Cryptography: key schedule, key agreement, payload protection and the registry of suites.

The only package that imports `cryptography`. It knows bytes and keys, and nothing of packets, connections or time.
"""
