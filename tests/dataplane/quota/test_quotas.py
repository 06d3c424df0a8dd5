"""What binds a request, what it takes, and what its caller is told: one worker, a clock that the test turns."""

from typing import Any

import pytest

from gateway.dataplane.quota.refusals import QUOTA_EXCEEDED, REDUCED_CAPACITY
from gateway.errors import Kind, Source
from gateway.observe import metrics
from gateway.settings import SettingsError, load_settings
from gateway.snapshot.document import LimitEntry
from tests.dataplane.quota.asks import Asks, Text, call, policy, told

FIVE = LimitEntry("minute", "requests", 5, 60)


@pytest.mark.parametrize(
    ("selectors", "another", "shares_the_count"),
    [
        ({}, {"application": "app:y", "alias": "b", "team": "u", "model": "n"}, True),
        ({"application": "*"}, {"alias": "b", "team": "u", "model": "n"}, True),
        ({"application": "*"}, {"application": "app:y"}, False),
        ({"application": "app:x"}, {"alias": "b"}, True),
        ({"alias": "*"}, {"application": "app:y"}, True),
        ({"alias": "*"}, {"alias": "b"}, False),
        ({"team": "*"}, {"alias": "b"}, True),
        ({"team": "*"}, {"alias": "b", "team": "u"}, False),
        ({"model": "*"}, {"alias": "b"}, True),
        ({"model": "*"}, {"model": "n"}, False),
        ({"model": "m", "application": "*"}, {"alias": "b"}, True),
        ({"model": "m", "application": "*"}, {"application": "app:y"}, False),
    ],
)
def test_a_star_counts_each_and_nothing_counts_all_together(
    selectors: dict[str, str], another: dict[str, Any], shares_the_count: bool
) -> None:
    """One count for each value of a `*`, one for all where a selector is left out."""
    asks = Asks(policy(FIVE, **selectors))
    assert asks.burst() == 5
    assert asks.burst(**another) == (0 if shares_the_count else 5)


@pytest.mark.parametrize(
    ("selectors", "stranger"),
    [
        ({"application": "app:x"}, {"application": "app:y"}),
        ({"alias": "a"}, {"alias": "b"}),
        ({"team": "t"}, {"team": "u", "alias": "b"}),
        ({"model": "m"}, {"model": "n"}),
        ({"application": "app:x", "alias": "a"}, {"alias": "b"}),
        ({"application": "*", "alias": "a", "model": "m"}, {"model": "n"}),
    ],
)
def test_a_name_binds_only_what_has_it(selectors: dict[str, str], stranger: dict[str, str]) -> None:
    """A policy that names something else does not bind, and is not told."""
    asks = Asks(policy(FIVE, **selectors))
    assert asks.burst() == 5
    asked = call()
    assert asks.take(asked=asked, **stranger) is None
    assert asked.trail.fields == ()


def test_all_limits_are_taken_or_none() -> None:
    """A limit that refuses leaves the others, of its policy and of others, as they were."""
    asks = Asks(
        policy(LimitEntry("a", "requests", 100, 60), name="wide", application="*"),
        policy(LimitEntry("b", "requests", 3, 60), name="narrow", alias="a"),
    )
    assert asks.burst() == 3
    for _ in range(50):
        assert asks.refusal() is not None
    assert asks.burst(alias="b") == 97


def test_limits_refill_with_time() -> None:
    """Five a minute: all five at once, then one each twelve seconds; after a long rest five again, not more."""
    asks = Asks(policy(FIVE))
    assert asks.burst() == 5
    asks.now += 11.9
    assert asks.burst() == 0
    asks.now += 0.2
    assert asks.burst() == 1
    asks.now += 86_400
    assert asks.burst() == 5


def test_a_burst_below_the_quota_smooths() -> None:
    """Sixty a minute, two at once."""
    asks = Asks(policy(LimitEntry("smooth", "requests", 60, 60, burst=2)))
    assert asks.burst() == 2
    asks.now += 1.01
    assert asks.burst() == 1
    asked = call()
    asks.refusal(asked=asked)
    assert told(asked, b"RateLimit-Policy") == {"p/smooth": {"q": 60, "w": 60, "maas-burst": 2}}


def test_callers_are_told_where_they_stand() -> None:
    """Every limit that binds, in the words of the draft, with the units that are not requests."""
    asks = Asks(
        policy(FIVE, LimitEntry("daily", "requests", 1000, 86_400), name="calls", application="*"),
        policy(LimitEntry("parallel", "concurrent-requests", 4), name="runs"),
        policy(LimitEntry("bytes", "content-bytes", 1_000_000, 3600), name="size"),
    )
    asked = call(body=Text(length=1_000))  # type: ignore[arg-type]
    asks.take(asked=asked)
    assert told(asked, b"RateLimit-Policy") == {
        "calls/minute": {"q": 5, "w": 60},
        "calls/daily": {"q": 1000, "w": 86_400},
        "runs/parallel": {"q": 4, "qu": "concurrent-requests"},
        "size/bytes": {"q": 1_000_000, "w": 3600, "qu": "content-bytes"},
    }
    assert told(asked, b"RateLimit") == {
        "calls/minute": {"r": 4, "t": 12},
        "calls/daily": {"r": 999, "t": 87},
        "runs/parallel": {"r": 3},
        "size/bytes": {"r": 999_000, "t": 4},
    }


def test_a_refusal_says_which_limit_and_when() -> None:
    """429 with the registered type, the limits that refused, and a moment at which the same call is admitted."""
    asks = Asks(policy(FIVE, LimitEntry("hourly", "requests", 100, 3600)))
    asks.burst()
    asked = call()
    error = asks.refusal(asked=asked)
    assert error is not None
    assert (error.kind, error.source, error.type_uri) == (Kind.QUOTA_EXCEEDED, Source.CALLER, QUOTA_EXCEEDED)
    assert error.members == {"violated-policies": ["p/minute"]}
    assert "p/minute allows 5 requests in 60 s" in error.detail
    assert set(told(asked, b"RateLimit-Policy")) == {"p/minute", "p/hourly"}
    assert told(asked, b"RateLimit") == {"p/minute": {"r": 0, "t": 12}}
    assert error.retry_after_s is not None
    assert error.retry_after_s > 11
    asks.now += error.retry_after_s + 1e-6
    assert asks.refusal() is None


def test_what_never_fits_is_said_to() -> None:
    """A request that counts more than the burst is too large, and not told to come back: it would for ever."""
    asks = Asks(policy(LimitEntry("bytes", "content-bytes", 100, 60)))
    error = asks.refusal(asked=call(body=Text(length=500)))  # type: ignore[arg-type]
    assert error is not None
    assert "this request counts as 500 content-bytes" in error.detail
    assert (error.kind, error.retry_after_s) == (Kind.TOO_LARGE, None)


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        (LimitEntry("one", "requests", 1, 60), "one allows 1 request in 60 s"),
        (LimitEntry("one", "concurrent-requests", 1), "one allows 1 request at a time"),
        (LimitEntry("two", "requests", 2, 60), "two allows 2 requests in 60 s"),
    ],
)
def test_a_refusal_counts_as_people_do(limit: LimitEntry, says: str) -> None:
    """One request is no requests."""
    asks = Asks(policy(limit))
    for _ in range(limit.quota):
        assert asks.take() is not None
    error = asks.refusal()
    assert error is not None
    assert says in error.detail


def test_requests_at_a_time_are_held_until_the_end() -> None:
    """And come back once, however the request ends and however often that is said."""
    asks = Asks(policy(LimitEntry("parallel", "concurrent-requests", 2)))
    first, second = asks.take(), asks.take()
    assert first is not None
    assert second is not None
    asks.now += 86_400
    error = asks.refusal()
    assert error is not None
    assert error.retry_after_s == 1
    assert "2 requests at a time" in error.detail
    first.end(call(), asks.now)
    first.end(call(), asks.now)
    first.give_back(asks.now)
    assert asks.burst() == 1
    second.give_back(asks.now)
    second.end(call(), asks.now)
    assert asks.burst() == 1


def test_a_request_that_was_shed_costs_nothing() -> None:
    """What was taken is given back whole."""
    asks = Asks(policy(FIVE, LimitEntry("bytes", "content-bytes", 1000, 3600)))
    for _ in range(20):
        taken = asks.take(call(body=Text(length=900)))  # type: ignore[arg-type]
        assert taken is not None
        taken.give_back(asks.now)
    assert asks.burst() == 5


def test_a_request_that_waits_holds_what_it_took() -> None:
    """Meanwhile it is nobody else's; shed in the end, it costs nothing; served, it counts from then on."""
    asks = Asks(policy(FIVE))
    first, second = asks.take(), asks.take()
    assert first is not None
    assert second is not None
    first.wait(asks.now)
    second.wait(asks.now)
    asks.now += 3600
    assert asks.burst() == 3
    first.give_back(asks.now)
    assert asks.burst() == 1
    second.go(asks.now)
    second.end(call(), asks.now)
    second.give_back(asks.now)
    asks.now += 59
    assert asks.burst() == 4
    asks.now += 1.1
    assert asks.burst() == 1


def test_a_shadow_policy_counts_and_refuses_nothing() -> None:
    """Its counters say what it would have done; callers never hear of it."""
    limit = LimitEntry("tight", "requests", 2, 60)
    asks = Asks(
        policy(limit, LimitEntry("day", "requests", 50, 86_400), name="trial", shadow=True), policy(FIVE)
    )
    tally = metrics.QUOTAS.of(("trial", "tight", "shadow"))
    before = (tally.taken, tally.refused)
    asked = call()
    assert asks.burst() == 5
    error = asks.refusal(asked=asked)
    assert error is not None
    assert error.members == {"violated-policies": ["p/minute"]}
    assert set(told(asked, b"RateLimit-Policy")) == {"p/minute"}
    assert (tally.taken - before[0], tally.refused - before[1]) == (2, 3)


def test_only_shadow_policies_tell_nothing() -> None:
    """No field, no refusal."""
    asks = Asks(policy(FIVE, shadow=True))
    asked = call()
    for _ in range(20):
        asks.take(asked=asked)
    assert asked.trail.fields == ()


def test_counts_outlive_a_snapshot() -> None:
    """Another snapshot, with an unrelated change, changes nothing."""
    asks = Asks(policy(FIVE))
    assert asks.burst() == 5
    for number in range(3):
        asks.change(policy(FIVE), policy(LimitEntry("x", "requests", 9, 9), name=f"q{number}", alias="z"))
        assert asks.burst() == 0


def test_what_was_used_stays_used_when_a_limit_is_changed() -> None:
    """Raised from 5 to 8: three more; lowered again: none, and the refusal drains at the new rate."""
    asks = Asks(policy(FIVE))
    assert asks.burst() == 5
    asks.change(policy(LimitEntry("minute", "requests", 8, 60)))
    assert asks.burst() == 3
    asks.change(policy(FIVE))
    assert asks.burst() == 0
    error = asks.refusal()
    assert error is not None
    assert error.retry_after_s == pytest.approx(4 * 12)


def test_a_policy_that_is_gone_stops_binding_at_once() -> None:
    """And one that comes back later begins anew. Its counts are told as long as it is there."""

    def told_of() -> set[str]:
        return {sample.labels["policy"] for family in metrics.QUOTAS.collect() for sample in family.samples}

    asks = Asks(policy(FIVE), policy(FIVE, name="stays"))
    assert asks.burst() == 5
    assert told_of() == {"p", "stays"}
    asks.change(policy(LimitEntry("minute", "requests", 500, 60), name="stays"))
    assert asks.burst(most=50) == 50
    assert told_of() == {"stays"}
    assert metrics.QUOTAS.of(("stays", "minute", "enforce")).taken == 55, (
        "a change of a policy loses no count"
    )
    asks.change(policy(FIVE))
    assert asks.burst() == 5


def test_each_of_several_workers_has_its_share() -> None:
    """Of what nobody counts for all of them: a part of the burst and of the rate; a limit that is smaller, one each."""
    asks = Asks(policy(LimitEntry("m", "requests", 40, 60)), workers=4)
    assert asks.burst() == 10
    asks.now += 6.01
    assert asks.burst() == 1
    assert Asks(policy(LimitEntry("m", "requests", 3, 60)), workers=4).burst() == 1


def rows(count: int) -> Any:
    """A call with so many batch rows."""
    return call(body=Text(b'{"inputs":[{"shape":[%d,4]}]}' % count))  # type: ignore[arg-type]


@pytest.mark.parametrize("units", [31, 32, 60])
def test_a_request_larger_than_the_share_is_let_in_alone(units: int) -> None:
    """One at once, at the share's rate, and its caller is told when it fits; more than the burst never does."""
    asks = Asks(policy(LimitEntry("rows", "inferences", 60, 1)), workers=2)
    admitted = 0
    began = asks.now
    while asks.now < began + 20:
        asked = rows(units)
        error = asks.refusal(asked)
        if error is None:
            admitted += units
            assert told(asked, b"RateLimit")["p/rows"] == {"r": 0, "t": -(-units // 30)}
            assert asks.refusal(rows(1)) is not None
        else:
            assert error.kind is Kind.QUOTA_EXCEEDED
            assert error.retry_after_s is not None
            asks.now += error.retry_after_s - 0.001
            assert asks.refusal(rows(units)) is not None, "not before it was told to"
            asks.now += 0.002
    assert 0.95 * 30 * 20 - units <= admitted <= units + 30 * 20
    asks.now += 60
    never = asks.refusal(rows(61))
    assert never is not None
    assert never.kind is Kind.TOO_LARGE


def test_a_hard_limit_is_closed_where_it_cannot_be_counted() -> None:
    """Several workers, nobody who counts for all: 503, the gateway's fault, with the registered type."""
    asks = Asks(policy(FIVE, name="budget", hard=True, application="app:x"), workers=2)
    error = asks.refusal()
    assert error is not None
    assert (error.kind, error.source, error.type_uri) == (Kind.UNAVAILABLE, Source.GATEWAY, REDUCED_CAPACITY)
    assert error.retry_after_s
    assert "budget/minute" in error.detail
    assert asks.refusal(application="app:y") is None
    assert Asks(policy(FIVE, hard=True), workers=1).burst() == 5


def test_memory_is_bounded_by_what_is_in_use() -> None:
    """Counters that drained are let go, those that did not are kept, whoever asked meanwhile."""
    asks = Asks(
        policy(LimitEntry("s", "requests", 10, 1), LimitEntry("d", "requests", 10, 86_400), application="*")
    )
    for number in range(2_000):
        asks.take(application=f"app:{number}")
    assert asks.quotas.counters == 4_000
    asks.change(
        policy(LimitEntry("s", "requests", 10, 1), LimitEntry("d", "requests", 10, 86_400), application="*")
    )
    asks.now += 10
    for number in range(2_000, 4_000):
        asks.take(application=f"app:{number}")
    assert asks.quotas.counters < 6_500
    asks.change(
        policy(LimitEntry("s", "requests", 10, 1), LimitEntry("d", "requests", 10, 86_400), application="*")
    )
    assert asks.burst(application="app:1") == 9


@pytest.mark.parametrize("workers", ["0", "100001", "99999999999"])
def test_nobody_shares_with_more_workers_than_can_be_meant(workers: str) -> None:
    """Each would have next to nothing of any limit."""
    with pytest.raises(SettingsError) as refused:
        load_settings(None, {"MAAS_QUOTA__WORKERS": workers})
    assert "quota.workers" in str(refused.value)
