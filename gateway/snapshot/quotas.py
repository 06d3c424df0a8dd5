"""What forbids a quota policy; the control plane asks the same before it writes anything."""

from collections import Counter
from itertools import combinations

from gateway.snapshot.document import LimitEntry, QuotaEntry
from gateway.types import NAME, PRINCIPAL

MOST_LIMITS = 16
MOST_QUOTA = 999_999_999_999_999
"""The largest Integer of a structured field (RFC 9651 section 3.3.1), in which limits are told."""

MOST_WINDOW_S = 366 * 86_400
LEAST_INTERVAL_S = 1e-12
"""Between two units of a limit: a terabyte a second is more than anybody has, and what is written so is a slip."""


def quota_problems(entry: QuotaEntry) -> list[str]:
    """What forbids the policy, one line each."""
    what = f"quota {entry.name}"
    found: list[str] = []
    if not NAME.fullmatch(entry.name):
        found.append(f"quota {entry.name!r} is not a name of 1 to 128 letters, digits, '.', '_', '-'")
    for dimension in ("team", "alias", "model"):
        value = getattr(entry, dimension)
        if value not in (None, "*") and not NAME.fullmatch(value):
            found.append(f"{what}: {dimension} {value!r} is neither a name nor *")
    if entry.application not in (None, "*") and not PRINCIPAL.fullmatch(entry.application or ""):
        found.append(f"{what}: application {entry.application!r} is neither app:NAME, user:NAME nor *")
    if not entry.limits:
        found.append(f"{what}: has no limit")
    if len(entry.limits) > MOST_LIMITS:
        found.append(f"{what}: has more than {MOST_LIMITS} limits")
    for name, count in Counter(limit.name for limit in entry.limits).items():
        if count > 1:
            found.append(f"{what}: limit {name!r} stands there {count} times")
    for limit in entry.limits:
        found += _limit_problems(f"{what}: limit {limit.name}", limit)
    return found + _contradictions(what, entry)


def _limit_problems(what: str, limit: LimitEntry) -> list[str]:
    found: list[str] = []
    if not NAME.fullmatch(limit.name):
        found.append(f"{what}: is not a name of letters, digits, '.', '_', '-'")
    if not 1 <= limit.quota <= MOST_QUOTA:
        found.append(f"{what}: the quota {limit.quota} is not between 1 and {MOST_QUOTA}")
    if limit.unit == "concurrent-requests":
        if limit.window_s or limit.burst:
            found.append(f"{what}: requests at a time have neither window nor burst")
    elif not 1 <= limit.window_s <= MOST_WINDOW_S:
        found.append(f"{what}: the window of {limit.window_s} s is not between 1 and {MOST_WINDOW_S}")
    elif limit.quota > 0 and limit.window_s / limit.quota < LEAST_INTERVAL_S:
        found.append(f"{what}: {limit.quota} in {limit.window_s} s are more than can be meant")
    if not 0 <= limit.burst <= max(limit.quota, 0):
        found.append(f"{what}: the burst {limit.burst} is not between 0 and the quota")
    if not 1 <= limit.estimate <= max(limit.quota, 1):
        found.append(f"{what}: the estimate {limit.estimate} is not between 1 and the quota")
    return found


def _contradictions(what: str, entry: QuotaEntry) -> list[str]:
    """A longer window that allows less than, or as much as, a shorter one makes the shorter one mean nothing."""
    windows = sorted(
        (limit for limit in entry.limits if limit.unit != "concurrent-requests"),
        key=lambda limit: limit.window_s,
    )
    return [
        f"{what}: limits {shorter.name} ({shorter.quota} in {shorter.window_s} s) and {longer.name} "
        f"({longer.quota} in {longer.window_s} s) contradict one another: only the tighter could ever count"
        for shorter, longer in combinations(windows, 2)
        if shorter.unit == longer.unit
        and (shorter.window_s == longer.window_s or longer.quota <= shorter.quota)
    ]
