"""Benchmarks: encrypted against plain TCP in one run, between network namespaces. They need root."""
