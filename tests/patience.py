"""What a test may say about time on a machine that is busy with other things."""

import time
from collections.abc import Callable

PATIENT_S = 60.0
"""How long a test waits, at the least, for what must come: who waits says nothing about how fast it is."""


def in_time(attempt: Callable[[], float], limit_s: float, tries: int = 10) -> None:
    """What `attempt` does and measures, in seconds, takes less than `limit_s`, one time of several.

    A machine that is busy delays one attempt or another; a fault delays them all.
    """
    took: list[float] = []
    for _ in range(tries):
        took.append(attempt())
        if took[-1] < limit_s:
            return
    raise AssertionError(f"never in less than {limit_s} s: {took}")


def within_a_day() -> None:
    """Return where a minute of the day (UTC) is left, or after midnight: what is counted by days falls into one."""
    left_s = 86_400 - time.time() % 86_400
    if left_s < PATIENT_S:
        time.sleep(left_s + 0.1)
