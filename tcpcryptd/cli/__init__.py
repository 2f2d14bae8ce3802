"""The commands: tcpcryptd and tcnetstat."""
