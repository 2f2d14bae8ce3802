"""The engine: packets, directions and the time in; verdicts, packets to inject and events out. No I/O, no clock."""
