"""Benchmarks between network namespaces, in one run: encrypted against plain TCP and other tunnels. They need root."""
