"""The control protocol of the daemon (docs/control-protocol.md): messages, and the client that applications use."""
