"""The way of the packets: queues and their verdicts, raw sockets, and what leaves in the daemon's own pace."""
