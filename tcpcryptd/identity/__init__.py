"""Who the host at the other end is: what it proves itself with, and which keys are believed (docs/identity.md).

Keys, certificates, signatures and lists of keys are OpenSSH's. No I/O, no clock.
"""
