"""The process itself: privileges, memory, signals, its log and files, the service manager."""
