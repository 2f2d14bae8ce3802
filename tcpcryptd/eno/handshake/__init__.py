"""TCP-ENO's negotiation and tcpcrypt's key exchange, and their states."""
