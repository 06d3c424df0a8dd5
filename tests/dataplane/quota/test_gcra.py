"""GCRA's arithmetic: the bound over any interval, what demand gets, what giving back does."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dataplane.quota.gcra import Bucket

NOISE = 1e-6
steps_s = st.one_of(st.just(0.0), st.floats(0.0, 0.5), st.floats(0.0, 30.0))
amounts = st.integers(1, 20)


def fits(bucket: Bucket, units: int, burst: int, rate: float, now: float) -> bool:
    """Whether there is room."""
    return bucket.level_at(rate, now) + bucket.held + units <= burst


def take(bucket: Bucket, units: int, burst: int, rate: float, now: float) -> bool:
    """Take where there is room."""
    if fits(bucket, units, burst, rate, now):
        bucket.count(units, rate, now)
        return True
    return False


def assert_bounded(used: list[tuple[float, float]], burst: int, rate: float) -> None:
    """Between any two moments at most burst + rate * t units were used."""
    for first, (start, _) in enumerate(used):
        total = 0.0
        for end, units in used[first:]:
            total += units
            assert total <= burst + rate * (end - start) + NOISE


@settings(deadline=None)
@given(st.integers(1, 50), st.floats(0.01, 100.0), st.lists(st.tuples(steps_s, amounts), max_size=60))
def test_no_interval_gets_more_than_the_burst_and_the_rate(
    burst: int, rate: float, asks: list[tuple[float, int]]
) -> None:
    """Between any two moments at most burst + rate * t units are taken."""
    now = 5_000.0
    bucket = Bucket(now)
    taken: list[tuple[float, float]] = []
    for step_s, units in asks:
        now += step_s
        if take(bucket, units, burst, rate, now):
            taken.append((now, units))
    assert_bounded(taken, burst, rate)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(
        [(100, 60, 0), (100, 60, 1), (5, 60, 0), (1000, 3600, 10), (50_000, 86_400, 1_000), (3, 1, 0)]
    ),
    st.floats(0.002, 0.03),
    st.integers(0, 2**32),
)
def test_demand_gets_all_but_a_twentieth(limit: tuple[int, int, int], pause: float, seed: int) -> None:
    """Over an hour of demand: never above the bound, never more than 5 % below it, whatever the rhythm of the asks."""
    quota, window_s, burst = limit
    burst = burst or quota
    rate = quota / window_s
    random = Random(seed)
    # What is asked for less often than the burst takes to drain is no demand.
    pause_s = pause * burst / rate
    now, count = 0.0, 0
    bucket = Bucket(now)
    while now < 3600.0:
        while take(bucket, 1, burst, rate, now):
            count += 1
        now += pause_s * (0.5 + random.random())
    bound = burst + rate * now
    assert 0.95 * bound - 1 <= count <= bound + NOISE


@settings(max_examples=500, deadline=None)
@given(
    st.integers(5, 50),
    st.floats(0.01, 20.0),
    st.lists(st.tuples(steps_s, st.integers(1, 10), st.integers(0, 10), st.integers(0, 5)), max_size=40),
)
def test_estimates_never_make_room_above_the_burst(
    burst: int, rate: float, asks: list[tuple[float, int, int, int]]
) -> None:
    """However late requests say what they used of their estimates: the bound holds for what they used, when they say so.

    Each ask holds some units, uses as many or fewer, and says so after a few more asks.
    """
    now = 100.0
    bucket = Bucket(now)
    running: list[tuple[int, int, int]] = []
    used: list[tuple[float, float]] = []
    for turn, (step_s, units, spare, turns) in enumerate(asks):
        now += step_s
        for entry in [entry for entry in running if entry[0] <= turn]:
            running.remove(entry)
            bucket.held -= entry[1]
            bucket.count(entry[2], rate, now)
            used.append((now, entry[2]))
        if fits(bucket, units, burst, rate, now):
            bucket.held += units
            running.append((turn + turns, units, max(0, units - spare)))
        assert bucket.level_at(rate, now) + bucket.held <= burst + NOISE
    assert_bounded(used, burst, rate)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(2, 20),
    st.floats(0.01, 20.0),
    st.lists(st.tuples(steps_s, st.booleans(), st.floats(0.0, 3.0)), max_size=40),
)
def test_uncounting_makes_no_room_above_the_burst(
    burst: int, rate: float, asks: list[tuple[float, bool, float]]
) -> None:
    """A request that was counted and then not served makes at most the room that it took, however late."""
    now = 100.0
    bucket = Bucket(now)
    used: list[tuple[float, float]] = []
    for step_s, served, late_s in asks:
        now += step_s
        if take(bucket, 1, burst, rate, now):
            if served:
                used.append((now, 1))
            else:
                taken_at = now
                now += late_s
                bucket.uncount(1, taken_at, rate, now)
    assert_bounded(used, burst, rate)


def test_what_is_uncounted_at_once_counts_for_nothing() -> None:
    """A request that was shed leaves its limit as it was, near the burst and far below it."""
    for level in (0, 3, 9):
        bucket = Bucket(0.0)
        bucket.count(level, 1.0, 0.0)
        bucket.count(1, 1.0, 0.0)
        bucket.uncount(1, 0.0, 1.0, 0.0)
        assert bucket.level_at(1.0, 0.0) == level
