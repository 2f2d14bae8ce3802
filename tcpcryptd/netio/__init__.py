"""The shell around the core: queues, raw sockets, firewall, privileges, clocks and signals."""
