"""What the command line accepts as names, targets, weights and ends of validity."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import arguments
from gateway.cli.arguments import TargetSpec
from gateway.cli.targets import effect, moved, percent, weighted
from gateway.snapshot.document import TargetEntry

V1 = TargetEntry("digits", 1, 10_000)


@pytest.mark.parametrize(
    ("text", "weight_bp"),
    [
        ("90%", 9000),
        ("0.25%", 25),
        ("12.5%", 1250),
        ("100%", 10_000),
        ("0%", 0),
        ("1000bp", 1000),
        ("1bp", 1),
    ],
)
def test_weights_are_read_exactly(text: str, weight_bp: int) -> None:
    """Percent with up to two decimals and basis points both mean whole basis points, without rounding."""
    assert arguments.weight_in_basis_points(text) == weight_bp


@given(st.integers(0, 10_000))
def test_every_weight_can_be_written_and_read_back(weight_bp: int) -> None:
    """What `maas alias list` prints is what `maas alias set` takes, for every weight there is."""
    assert arguments.weight_in_basis_points(percent(weight_bp)) == weight_bp
    assert Decimal(percent(weight_bp)[:-1]) * 100 == weight_bp


@pytest.mark.parametrize(
    "text",
    ["100.01%", "10001bp", "-1%", "1e1%", "nan%", "0.125%", "10", "10 %", "1.5bp", "٣%", "%", "+5%", ""],
)
def test_what_is_no_weight_is_refused(text: str) -> None:
    """No sign, exponent, third decimal, other script or bare number passes for a weight."""
    assert arguments.weight_in_basis_points(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "digits",
        "digits@",
        "digits@01",
        "digits@0",
        "digits@-1",
        "digits@1abc",
        f"digits@{2**63}",
        "a/b@1",
        "@1=5%",
    ],
)
def test_what_is_no_target_is_a_usage_error(text: str) -> None:
    """A target is MODEL@VERSION with a proper name and version."""
    with pytest.raises(click.BadParameter):
        arguments.target(text)


def test_one_target_may_get_the_rest() -> None:
    """The target without a weight gets what the others leave, to the basis point."""
    specs = [TargetSpec("digits", 1, None), TargetSpec("digits", 2, 25)]
    assert [target.weight_bp for target in weighted(specs)] == [9975, 25]


@pytest.mark.parametrize(
    ("specs", "why"),
    [
        ([TargetSpec("d", 1, 9000), TargetSpec("d", 2, 2000)], "sum to 110%, 10% more than the whole"),
        ([TargetSpec("d", 1, 9000), TargetSpec("d", 2, 999)], "sum to 99.99%, 0.01% less than the whole"),
        ([TargetSpec("d", 1, None), TargetSpec("d", 2, None)], "only one target may get the rest"),
        ([TargetSpec("d", 1, 5000), TargetSpec("d", 1, 5000)], "d@1 stands there twice"),
    ],
)
def test_weights_that_make_no_whole_are_refused_before_anything_is_sent(
    specs: list[TargetSpec], why: str
) -> None:
    """The message says by how much the sum is off, or which target is the trouble."""
    with pytest.raises(click.UsageError, match=why):
        weighted(specs)


def test_the_effect_names_every_target_old_and_new() -> None:
    """A person sees what each target had and gets, the one that goes away included."""
    new = [TargetEntry("digits", 1, 9000), TargetEntry("digits", 3, 1000)]
    old = [TargetEntry("digits", 1, 5000), TargetEntry("digits", 2, 5000)]
    text = "\n".join(effect("digits", old, new))
    assert "digits@1" in text
    assert "50% -> 90% (stable)" in text
    assert "new -> 10% (candidate)" in text
    assert "50% -> gone" in text


def test_moved_tells_a_ramp_from_a_new_release() -> None:
    """Within a release only the raised share moves; a new release deals everybody anew."""
    ramp = moved(
        [TargetEntry("d", 1, 9000), TargetEntry("d", 2, 1000)],
        [TargetEntry("d", 1, 5000), TargetEntry("d", 2, 5000)],
    )
    assert ramp.startswith("40% of callers change version")
    fresh = moved([TargetEntry("d", 1, 10_000)], [TargetEntry("d", 1, 9000), TargetEntry("d", 2, 1000)])
    assert fresh.startswith("A new release")
    assert "10%" in fresh
    assert moved([], [V1]) == "The alias is new: nobody calls it yet."
    assert moved([V1], [V1]) == "Nobody changes version."


def test_expiry_takes_spells_and_dates() -> None:
    """`90d` counts from now; a bare date is midnight in UTC."""
    assert abs(arguments.expiry("90d") - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=1)
    assert arguments.expiry("2999-03-31") == datetime(2999, 3, 31, tzinfo=UTC)
    assert arguments.expiry("2999-03-31T12:00:00+02:00") == datetime(2999, 3, 31, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "2020-01-01", "0d", "-1d", "90", "99999999d"])
def test_an_end_that_is_none_is_a_usage_error(text: str) -> None:
    """A key that is born expired, or never means to, is a mistake."""
    with pytest.raises(click.BadParameter):
        arguments.expiry(text)
