"""Medians, ratios and the marks on figures that say less than they seem to."""

from loadtests.results import Sample, lost_share, points


def sample(
    peer: str, rate: float, *, round_number: int = 1, connections: int = 32, **more: float | None
) -> Sample:
    """A sample of the JSON payload with plausible values where the test does not care."""
    values: dict[str, float | None] = {
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "proxy_cpu_us_per_request": 50.0,
        "proxy_busy": 1.0,
        "lost_busy": 0.0,
        "load_busy": 0.5,
    }
    values.update(more)
    return Sample(
        payload="json",
        connections=connections,
        peer=peer,
        round=round_number,
        requests=1000,
        requests_per_s=rate,
        **values,  # type: ignore[arg-type]
    )


def test_a_point_is_the_median_of_its_rounds() -> None:
    """One slow round moves neither the rate nor a latency."""
    [point] = points(
        [
            sample("envoy", 20_000, round_number=1, p99_ms=2.0),
            sample("envoy", 3_000, round_number=2, p99_ms=90.0),
            sample("envoy", 21_000, round_number=3, p99_ms=2.2),
        ]
    )
    assert (point.requests_per_s, point.p99_ms) == (20_000, 2.2)


def test_ratios_are_to_envoy_at_the_same_connections() -> None:
    """Each peer's median over Envoy's, for every number of connections by itself."""
    measured = points(
        [
            sample("maas", 50_000),
            sample("envoy", 20_000),
            sample("maas", 9_000, connections=1),
            sample("envoy", 10_000, connections=1),
        ]
    )
    ratios = {(point.peer, point.connections): point.ratio for point in measured}
    assert ratios == {("maas", 32): 2.5, ("envoy", 32): 1.0, ("maas", 1): 0.9, ("envoy", 1): 1.0}


def test_cpu_time_has_a_ratio_of_its_own() -> None:
    """The median for a request over Envoy's; direct calls have no proxy whose time could be told."""
    measured = points(
        [
            sample("maas", 9_000, proxy_cpu_us_per_request=110.0),
            sample("envoy", 20_000, proxy_cpu_us_per_request=44.0),
            sample("direct", 70_000, proxy_cpu_us_per_request=None),
        ]
    )
    assert [point.cpu_ratio for point in measured] == [2.5, 1.0, None]


def test_without_envoy_there_is_no_ratio() -> None:
    """A missing reference gives no number rather than a made-up one."""
    [point] = points([sample("maas", 50_000)])
    assert point.ratio is None


def test_a_full_load_generator_makes_a_lower_bound() -> None:
    """If the load's core was full and the proxy's was not, the proxy was not what was measured."""
    bound = points([sample("nginx", 58_000, load_busy=0.99, proxy_busy=0.8)])
    direct = points([sample("direct", 70_000, load_busy=0.99, proxy_busy=None)])
    proxy_full = points([sample("envoy", 20_000, load_busy=0.99, proxy_busy=0.99)])
    assert [point.load_bound for point in (*bound, *direct, *proxy_full)] == [True, True, False]


def test_the_share_that_others_had_leaves_out_direct_calls() -> None:
    """Only spells with a proxy say how much of its core others took."""
    samples = [
        sample("envoy", 1.0, lost_busy=0.2),
        sample("maas", 1.0, lost_busy=0.4),
        sample("direct", 1.0, lost_busy=None),
    ]
    assert abs(lost_share(samples) - 0.3) < 1e-9
    assert lost_share([]) == 0.0
