"""The time of day, which can jump: for what says by itself how long it is valid, and nothing else."""

import time


def wall_clock() -> float:
    """Seconds since 1970."""
    return time.time()
