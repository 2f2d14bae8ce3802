"""Who the host at the other end is: its proof, and which keys are trusted (docs/identity.md).

Keys, certificates, signatures and lists of keys are OpenSSH's. No I/O, no clock.
"""
