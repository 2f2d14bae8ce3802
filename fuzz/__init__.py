"""Fuzzing of the whole engine: two hosts on a simulated link, an attacker, and scripts of events read from bytes."""
