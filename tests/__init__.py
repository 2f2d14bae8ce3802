"""Tests: unit, machine (two engines joined by a simulated link), e2e (daemons in network namespaces)."""
