"""Whether daily counts fall or rise, told so that neither a weekend nor one busy day looks like a trend."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

Trend = Literal["falling", "steady", "rising"]

FEWEST_DAYS = 14
"""Two whole weeks: with less, a Saturday and a Sunday at the end are a fall."""

_WEEK = 7
_Z = 1.645
"""The upper 5 % of the normal distribution: one falling series in twenty is found where there is only chance."""


def trend(counts: Sequence[int]) -> Trend | None:
    """The direction of counts of whole, consecutive days, oldest first; None for fewer than `FEWEST_DAYS`.

    Two things must hold. The order of the days is no chance: the Mann-Kendall test, which asks of each pair of days only
    which one is higher, so that a single burst weighs no more than any other day. And the change has a size: the mean of
    the last seven days is at most 0.8 of that of the days before (rising: at least 1.25 of it); a week has every weekday.
    """
    if len(counts) < FEWEST_DAYS:
        return None
    # The two means, each times both numbers of days: whole numbers compare exactly.
    recent = sum(counts[-_WEEK:]) * (len(counts) - _WEEK)
    before = sum(counts[:-_WEEK]) * _WEEK
    z = mann_kendall_z(counts)
    if z < -_Z and 5 * recent <= 4 * before:
        return "falling"
    if z > _Z and 4 * recent >= 5 * before:
        return "rising"
    return "steady"


def mann_kendall_z(values: Sequence[float]) -> float:
    """The standardised Mann-Kendall statistic, corrected for ties and continuity; 0 where all values are the same.

    H. B. Mann, Econometrica 13 (1945); M. G. Kendall, Rank Correlation Methods (1975), for the ties.
    """
    score = sum((later > earlier) - (later < earlier) for earlier, later in combinations(values, 2))
    count = len(values)
    spread = count * (count - 1) * (2 * count + 5)
    spread -= sum(same * (same - 1) * (2 * same + 5) for same in Counter(values).values())
    if spread <= 0 or score == 0:
        return 0.0
    return (score - math.copysign(1, score)) / math.sqrt(spread / 18)
