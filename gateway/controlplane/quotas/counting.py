"""Whether the workers that reported lately keep quotas as they are written."""

from collections.abc import Sequence

_ROUNDING = 0.001


def counting_problems(shares: Sequence[int], *, hard: bool) -> list[str]:
    """Why a policy is not kept as it is written, where workers with these `shares` serve (`store.shares`)."""
    closed = [workers for workers in shares if hard and workers > 1]
    if closed:
        return [
            "it is hard and workers count by shares, so all that it binds is refused; name a Redis in quota.redis_url"
        ]
    times = sum(1 / workers for workers in shares)
    if times > 1 + _ROUNDING:
        return [
            f"{len(shares)} workers, each by its share, let {times:.3g} times as much through; name a Redis in "
            f"quota.redis_url, or in quota.workers how many there are"
        ]
    return []
