"""Limits as people write them."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from gateway.cli.limits import all_limits, limit, whole, written
from gateway.cli.main import maas
from gateway.snapshot.quotas import MOST_QUOTA


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("5/minute", {"name": "minute", "unit": "requests", "quota": 5, "window_s": 60}),
        ("burst:100/10s,burst=20", {"name": "burst", "unit": "requests", "quota": 100, "window_s": 10, "burst": 20}),
        ("bytes=10M/hour", {"name": "content-bytes-hour", "unit": "content-bytes", "quota": 10_000_000, "window_s": 3600}),
        ("tokens=1k/day,estimate=50", {"name": "tokens-day", "unit": "tokens", "quota": 1000, "window_s": 86_400, "estimate": 50}),
        ("bytes=1G/day,burst=20M", {"name": "content-bytes-day", "unit": "content-bytes", "quota": 10**9, "window_s": 86_400, "burst": 20_000_000}),
        ("concurrent=8", {"name": "concurrent", "unit": "concurrent-requests", "quota": 8}),
    ],
)  # fmt: skip
def test_a_limit_is_read_and_written(text: str, fields: dict[str, Any]) -> None:
    """What is written of a limit reads as the same limit."""
    assert limit(text) == fields
    assert whole(limit(written(whole(fields)))) == whole(fields)


@pytest.mark.parametrize(
    "text", ["", "5", "5/fortnight", "/minute", "-5/minute", "x=5/minute", "concurrent=5/minute", "5/minute,size=3", "1e9/day"]
)  # fmt: skip
def test_anything_else_says_how(text: str) -> None:
    """With an example to follow."""
    with pytest.raises(click.BadParameter):
        limit(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("9999999999999999999/minute", f"the largest quota is {MOST_QUOTA}"),
        ("1000000G/day", f"the largest quota is {MOST_QUOTA}"),
        ("5/minute,burst=9999999999999999999", "the burst is larger than the quota of 5"),
        ("5/minute,burst=0", "leave it out for the whole quota at once"),
        ("tokens=5/minute,estimate=0", "the estimate is at least 1"),
        ("5/fortnight", "WINDOW is second, minute, hour, day, week or a number of seconds"),
    ],
)
def test_what_is_too_much_or_in_no_known_window_says_what_there_is(text: str, says: str) -> None:
    """A huge number is a limit, only too large a one."""
    with pytest.raises(click.BadParameter) as refused:
        limit(text)
    assert says in refused.value.message


def test_a_negative_limit_is_told_as_that() -> None:
    """And not as an option that there is not."""
    done = CliRunner().invoke(maas, ["quota", "set", "few", "--alias", "digits", "-5/minute"])
    assert done.exit_code == 2
    assert "'-5/minute': a limit is not negative" in done.output


def test_all_that_are_no_limits_are_told_together() -> None:
    """Nobody finds the second slip only after he has mended the first."""
    command = click.Command("x")
    with pytest.raises(click.BadParameter) as refused:
        all_limits(
            click.Context(command), click.Argument(["wanted"]), ["5/fortnight", "7/minute", "bits=5/day"]
        )
    assert "5/fortnight" in refused.value.message
    assert "bits=5/day" in refused.value.message
    assert "7/minute" not in refused.value.message
